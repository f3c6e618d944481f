"""What of prompts, answers and arguments gets onto spans: nothing unless it is asked for, and then redacted and cut."""

from __future__ import annotations

import dataclasses
import json
import re
import time
from contextlib import ExitStack
from enum import Enum
from types import MappingProxyType

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import generate_latest
from pydantic import BaseModel, ConfigDict, Field, SecretStr

from agentgauge.errors import contained_errors
from agentgauge.instrumentors.content import Content
from agentgauge.instrumentors.kit import Kit
from agentgauge.monitor import Monitor, start, stop
from agentgauge.recording.lm_call import Answer
from agentgauge.recording.series import LmName, SeriesKind
from agentgauge.testing import reraise_internal_errors

SECRET = "sk-live-5f3a"
MESSAGES = [{"role": "user", "parts": [{"type": "text", "content": f"my key is {SECRET}"}]}]
ARGUMENTS = "gen_ai.tool.call.arguments"
INPUT = "gen_ai.input.messages"

ON = Content(is_captured=True)


@pytest.fixture(autouse=True)
def _loud():
    with reraise_internal_errors():
        yield
        stop()


def one_of_each(fresh, content):
    """Run a tool and an LM call that report content, as instrumentors do, and let it pass as names and answers too."""
    with ExitStack() as undo:
        kit = Kit("tests", fresh.recorder, content, undo)
        tool = kit.begin(SeriesKind.TOOL, "search", arguments={"query": SECRET})
        tool.set_attributes({ARGUMENTS: kit.content.attribute(ARGUMENTS, {"query": SECRET, "limit": 3})})
        call = kit.begin_lm(LmName("chat", "openai", "gpt"))
        call.set_attributes({INPUT: kit.content.attribute(INPUT, MESSAGES)})
        call.note_answer(Answer(10, 1))
        call.end()
        tool.end()


def content_of(spans):
    found = {}
    for span in spans.get_finished_spans():
        found |= {name: value for name, value in span.attributes.items() if name in {ARGUMENTS, INPUT}}
    return found


def content_of_settings(**settings):
    """Return what the settings of ``start()`` make of content."""
    monitor = start(is_server_enabled=False, collectors=(), **settings)
    assert isinstance(monitor, Monitor)
    return monitor._instrumentation()._content


# --- on spans -------------------------------------------------------------------------------------------------------------


def test_nothing_is_kept_unless_it_is_asked_for(fresh, spans, monkeypatch):
    monkeypatch.delenv("OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT", raising=False)
    one_of_each(fresh, content_of_settings())

    assert [span.name for span in spans.get_finished_spans()] == ["chat gpt", "execute_tool search"]
    assert content_of(spans) == {}
    assert all(SECRET not in span.to_json() for span in spans.get_finished_spans())


@pytest.mark.parametrize(
    ("mode", "is_kept"),
    [("NO_CONTENT", False), ("EVENT_ONLY", False), ("SPAN_ONLY", True), ("span_and_event", True), ("true", False), ("", False)],
)
def test_the_standard_variable_decides(fresh, spans, monkeypatch, mode, is_kept):
    monkeypatch.setenv("OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT", mode)
    one_of_each(fresh, content_of_settings())

    assert set(content_of(spans)) == ({ARGUMENTS, INPUT} if is_kept else set())
    if is_kept:
        assert json.loads(content_of(spans)[INPUT]) == MESSAGES
        assert json.loads(content_of(spans)[ARGUMENTS]) == {"query": SECRET, "limit": 3}


@pytest.mark.parametrize("content", [ON, Content(is_captured=False), Content(is_captured=True, redact=lambda text, name: text)])
def test_content_never_reaches_a_label(fresh, spans, content):
    one_of_each(fresh, content)
    one_of_each(fresh, content)

    page = generate_latest(fresh.registry).decode()
    assert 'gen_ai_tool_name="search"' in page
    assert SECRET not in page


# --- redacted -------------------------------------------------------------------------------------------------------------


def test_a_redactor_sees_the_text_and_the_name_and_decides_what_is_kept(fresh, spans):
    seen = []

    def redact(text, name):
        seen.append(name)
        return None if name == ARGUMENTS else re.sub(r"sk-[\w-]+", "[key]", text)

    one_of_each(fresh, content_of_settings(content_capture="SPAN_ONLY", content_redactor=redact))

    assert seen == [ARGUMENTS, INPUT]
    assert set(content_of(spans)) == {INPUT}
    assert json.loads(content_of(spans)[INPUT])[0]["parts"][0]["content"] == "my key is [key]"


@pytest.mark.parametrize("returned", [5, b"text", ["text"], True])
def test_a_redactor_that_returns_no_text_keeps_nothing_and_is_reported(fresh, spans, caplog, returned, monkeypatch):
    monkeypatch.setattr(contained_errors, "is_reraising", False)
    contained_errors._next_log_by_hook.clear()
    one_of_each(fresh, Content(is_captured=True, redact=lambda text, name: returned))

    assert content_of(spans) == {}
    assert fresh.value("agentgauge_internal_errors_total", hook="content") == 2
    assert f"content_redactor returned {type(returned).__name__}, neither text nor None" in caplog.text


def test_a_redactor_that_raises_keeps_nothing_and_no_log_quotes_what_it_saw(fresh, spans, caplog, monkeypatch):
    monkeypatch.setattr(contained_errors, "is_reraising", False)
    contained_errors._next_log_by_hook.clear()

    def redact(text, name):
        raise KeyError(text)

    one_of_each(fresh, Content(is_captured=True, redact=redact))

    assert [span.name for span in spans.get_finished_spans()] == ["chat gpt", "execute_tool search"]
    assert content_of(spans) == {}
    assert fresh.value("agentgauge_internal_errors_total", hook="content") == 2
    assert re.search(r"content_redactor raised KeyError at .*test_content\.py:\d+: nothing of gen_ai", caplog.text)
    assert SECRET not in caplog.text


def test_what_stops_the_program_passes_through_a_redactor():
    def redact(text, name):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        Content(is_captured=True, redact=redact).attribute(INPUT, "text")


@pytest.mark.parametrize("before", range(0, 60, 7))
@pytest.mark.parametrize("wrap", [str, lambda text: [{"content": text}]])
def test_no_part_of_a_secret_stays_where_the_text_is_cut_in_the_middle_of_it(before, wrap):
    content = Content(is_captured=True, limit_bytes=100, redact=lambda text, name: re.sub(r"<key>\w*</key>", "", text))
    secret = f"<key>{'s' * 3_000}</key>"
    # Enough of them that the limit falls into one, however many the redactor takes out.
    kept = content.attribute(INPUT, wrap("." * before + secret * 50))

    assert "s" * 3 not in kept
    assert "." * min(before, 50) in kept


def test_a_redactor_that_finds_nothing_in_a_long_text_costs_nothing_of_it():
    text = "".join(map(str, range(10_000)))
    plain = Content(is_captured=True, limit_bytes=1_000)
    redacted = Content(is_captured=True, limit_bytes=1_000, redact=lambda text, name: text)

    assert redacted.attribute(INPUT, text) == plain.attribute(INPUT, text)
    assert len(redacted.attribute(INPUT, text).encode()) == 1_000


def test_a_redactor_that_replaces_a_long_text_is_obeyed():
    content = Content(is_captured=True, limit_bytes=100, redact=lambda text, name: f"[{name}]")

    assert content.attribute(INPUT, "x" * 1_000_000) == f"[{INPUT}]…"


# --- cut ------------------------------------------------------------------------------------------------------------------


def test_what_is_too_long_is_cut_at_the_limit_with_a_mark():
    content = Content(is_captured=True, limit_bytes=10)

    assert content.attribute(INPUT, "0123456789") == "0123456789"
    assert content.attribute(INPUT, "0123456789a") == "0123456…"
    assert content.attribute(INPUT, "ééééé") == "ééééé"
    assert content.attribute(INPUT, "éééééé") == "ééé…"
    assert content.attribute(INPUT, ["0123456789"]) == '["01234…'
    assert Content(is_captured=True, limit_bytes=2).attribute(INPUT, "abc") == "ab"


@pytest.mark.parametrize("redact", [None, lambda text, name: text, lambda text, name: text * 3])
@given(
    value=st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.binary(),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner) | st.tuples(inner, inner),
    ),
    limit=st.integers(min_value=1, max_value=60),
)
def test_whatever_the_value_its_text_fits_the_limit_and_utf_8(redact, value, limit):
    kept = Content(is_captured=True, limit_bytes=limit, redact=redact).attribute(INPUT, value)

    assert (kept is None) == (value is None)
    if kept is not None:
        assert len(kept.encode()) <= limit


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers(-(2**60), 2**60) | st.floats(allow_nan=False, allow_infinity=False),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(st.characters(codec="utf-8")), inner),
        max_leaves=10,
    ).filter(lambda value: value is not None)
)
def test_plain_data_becomes_the_json_that_it_is(value):
    assert json.loads(ON.attribute(INPUT, value)) == value


@pytest.mark.parametrize(
    "huge",
    [
        pytest.param(lambda: "x" * 200_000_000, id="text"),
        pytest.param(lambda: [{"content": "x" * 1_000_000}] * 200, id="long messages"),
        pytest.param(lambda: [{"content": "x"}] * 2_000_000, id="many messages"),
        pytest.param(lambda: dict.fromkeys(range(2_000_000), "x"), id="wide"),
        pytest.param(lambda: b"x" * 200_000_000, id="bytes"),
    ],
)
def test_a_huge_value_costs_no_more_than_what_is_kept_of_it(huge):
    value = huge()
    spent = []
    for _ in range(3):  # what else the machine does only adds
        began = time.thread_time()
        kept = ON.attribute(INPUT, value)
        spent.append(time.thread_time() - began)

    assert len(kept.encode()) <= ON.limit_bytes
    assert min(spent) < 0.1  # json.dumps alone takes seconds


# --- of any kind ----------------------------------------------------------------------------------------------------------


class Colour(Enum):
    RED = "red"


class Message(BaseModel):
    model_config = ConfigDict(extra="allow")

    role: str
    key: SecretStr = SecretStr(SECRET)
    token: str = Field(SECRET, repr=False)
    password: str = Field(SECRET, exclude=True)
    inner: Message | None = None


@dataclasses.dataclass(slots=True)
class Document:
    text: str
    key: str = dataclasses.field(default=SECRET, repr=False)


class Broken:
    def __str__(self):
        raise RuntimeError(SECRET)


class Untold:
    def __str__(self):
        return 5  # noqa: PLE0307 - that it is wrong is the test


class Loud(str):
    __slots__ = ()

    def __str__(self):
        raise RuntimeError


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("as it is", "as it is"),
        ("", ""),
        (Loud("loud"), "loud"),
        (b"\x89PNG", '"<4 bytes>"'),
        ({"image": bytearray(3)}, '{"image": "<3 bytes>"}'),
        ((1, 2.5, True, None), "[1, 2.5, true, null]"),
        ({"a": {"b": ["c"]}}, '{"a": {"b": ["c"]}}'),
        ({1: "x", (2, 3): "y", None: "z"}, '{"1": "x", "(2, 3)": "y", "None": "z"}'),
        (MappingProxyType({"a": 1}), '{"a": 1}'),
        ({"x"}, '["x"]'),
        (Colour.RED, '"red"'),
        ("é\N{PILE OF POO}", "é\N{PILE OF POO}"),
        ("\ud800", "?"),
        (Document("text"), '{"text": "text"}'),
        (Message(role="user"), '{"role": "user", "key": "**********", "inner": null}'),
        (Message(role="a", inner=Message(role="b"), more=1), None),
        ([Broken()], '["<Broken>"]'),
        ({Broken(): Untold()}, '{"<Broken>": "<Untold>"}'),
        ([10**5_000], "[<int>]"),
        (object, "\"<class 'object'>\""),
    ],
)
def test_values_of_any_kind_become_text(value, text):
    kept = ON.attribute(INPUT, value)

    if text is None:
        inner = {"role": "b", "key": "**********", "inner": None}
        assert json.loads(kept) == {"role": "a", "key": "**********", "inner": inner, "more": 1}
    else:
        assert kept == text
    assert SECRET not in kept


def test_an_iterator_is_left_to_the_program():
    items = iter([1, 2, 3])
    generator = (number for number in (1, 2, 3))

    assert "list_iterator" in ON.attribute(INPUT, items)
    assert "generator" in ON.attribute(INPUT, [generator])
    assert [*items, *generator] == [1, 2, 3, 1, 2, 3]


def test_a_value_that_holds_itself_has_an_end():
    loop: list = ["x"]
    loop.append(loop)
    ring = {"role": "user"}
    ring["self"] = ring
    message = Message(role="user")
    message.inner = message
    wide: list = []
    wide.extend([wide] * 100)

    assert ON.attribute(INPUT, loop).startswith('["x", ["x", ["x"')
    assert "…" in ON.attribute(INPUT, ring)
    assert "…" in ON.attribute(INPUT, message)
    assert len(ON.attribute(INPUT, wide).encode()) <= ON.limit_bytes


def test_a_mapping_that_fails_keeps_nothing_and_harms_nobody(fresh, spans, monkeypatch):
    class Lazy(dict):
        def items(self):
            raise OSError

    monkeypatch.setattr(contained_errors, "is_reraising", False)

    assert ON.attribute(INPUT, Lazy()) is None
    assert fresh.value("agentgauge_internal_errors_total", hook="content") == 1
