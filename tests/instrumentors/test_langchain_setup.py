"""LangChain: instrumented and given back, beside what the user sets."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import pytest
from langchain_core.callbacks import BaseCallbackHandler
from langchain_core.runnables import RunnableLambda
from langchain_core.tracers import context as tracers_context
from prometheus_client import CollectorRegistry

import agentgauge
from agentgauge.instrumentors import roster
from agentgauge.instrumentors.content import Content
from tests.instrumentors.langchain_programs import (
    ANSWERED,
    StreamingModel,
    answer,
    instrumented,
    lm_calls,
    model,
)

if TYPE_CHECKING:
    from agentgauge.testing import Isolation


def test_the_users_own_callbacks_see_what_they_saw_before_and_are_not_replaced(fresh: Isolation) -> None:
    class Listener(BaseCallbackHandler):
        def __init__(self) -> None:
            self.handlers: list[str] = []

        def on_chat_model_start(self, *_: Any, **__: Any) -> None:
            self.handlers.append("start")

        def on_llm_end(self, *_: Any, **__: Any) -> None:
            self.handlers.append("end")

    listener = Listener()
    config: Any = {"callbacks": [listener]}
    with instrumented(fresh):
        model().invoke("hello", config)
    model().invoke("hello", config)
    assert listener.handlers == ["start", "end"] * 2
    assert config == {"callbacks": [listener]}
    assert lm_calls(fresh) == 1


def test_undoing_takes_back_the_hook_and_every_patch(fresh: Isolation) -> None:
    from langchain_core.language_models.chat_models import BaseChatModel
    from langchain_core.runnables import config

    def state() -> tuple[Any, ...]:
        owners = (BaseChatModel, StreamingModel, config)
        return list(tracers_context._configure_hooks), *(dict(vars(owner)) for owner in owners)

    before = state()
    with instrumented(fresh):
        model().invoke("hello")
        list(StreamingModel(messages=iter([answer()]), clock=fresh.clock).stream("hello"))
        assert all(now != then for now, then in zip(state(), before, strict=True))
    assert state() == before
    model().invoke("hello")
    assert lm_calls(fresh) == 1


def test_a_configuration_that_outlives_the_instrumentation_records_nothing_more(fresh: Isolation) -> None:
    held: list[Any] = []
    with instrumented(fresh):
        RunnableLambda(lambda _, config: held.append(config)).invoke("x")
    model().invoke("hello", held[0])
    assert lm_calls(fresh, **ANSWERED) is None


def test_it_is_instrumented_by_start_and_given_back_by_stop(fresh: Isolation) -> None:
    agentgauge.start(registry=CollectorRegistry(), instrumentors=("langchain",), is_server_enabled=False, collectors=())
    try:
        model().invoke("hello")
    finally:
        agentgauge.stop()
    model().invoke("hello")
    assert lm_calls(fresh) == 1
    assert fresh.value("agentgauge_instrumentor_active", instrumentor="langchain") == 0


def missing(_: str) -> str:
    """Stand for ``version`` where nothing is installed."""
    raise roster.PackageNotFoundError


def test_asked_for_by_name_and_missing_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(roster, "version", missing)
    with pytest.raises(agentgauge.ConfigurationError, match=r"pip install 'agentgauge\[langchain\]'"):
        agentgauge.start(instrumentors=("langchain",), is_server_enabled=False, collectors=())


def test_missing_and_not_asked_for_it_is_passed_over_in_silence(
    fresh: Isolation, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    framework = roster.FRAMEWORKS["langchain"]
    monkeypatch.setattr(roster, "FRAMEWORKS", {"langchain": framework})
    monkeypatch.setattr(roster, "version", missing)
    monkeypatch.delitem(sys.modules, framework.module)
    instrumentation = roster.Instrumentation(fresh.recorder, Content())
    instrumentation.start()
    instrumentation.stop()
    assert caplog.records == []
    assert fresh.value("agentgauge_instrumentor_active", instrumentor="langchain") is None
