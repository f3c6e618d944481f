"""Servers for the tests of this folder."""

from __future__ import annotations

import contextlib
import functools

import pytest
from made_up_series import one_of_each_kind, registry_of

from agentgauge.config import Config
from agentgauge.exposition.response import respond
from agentgauge.exposition.server import MetricsServer


@pytest.fixture
def serve():
    """Start a server of a registry; all of them end with the test."""
    with contextlib.ExitStack() as stack:

        def start(registry=None, **settings):
            config = Config(port=0, **settings)
            answer = functools.partial(
                respond,
                registry=registry or registry_of(one_of_each_kind()),
                config=config,
                is_ready=lambda: True,
                on_scrape=lambda _seconds, _cpu_seconds: None,
            )
            server = MetricsServer(config, answer)
            assert server.bind()
            stack.callback(server.close)
            server.start()
            return server

        yield start
