"""Waiting for what another thread does."""

from __future__ import annotations

import time

PATIENCE_SECONDS = 60.0


def wait_until(condition):
    """Wait until it is true; fail where that takes longer than any machine does."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.005)
