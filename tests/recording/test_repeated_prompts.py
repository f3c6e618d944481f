"""LM calls that repeat a prompt: told by hashes, within bounds, and of what a model answered alone."""

from __future__ import annotations

import os
import sys
import threading
from types import SimpleNamespace

import pytest
from fork_program import run
from hypothesis import given
from hypothesis import strategies as st

from agentgauge import agent, task
from agentgauge.recording import prompts
from agentgauge.recording.answer import Answer
from agentgauge.recording.lm_call import LmCall
from agentgauge.recording.prompts import Prompts, prompt_fingerprint
from agentgauge.recording.series import LmName
from agentgauge.testing import reraise_internal_errors

PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=20) | st.binary(max_size=9),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4) | st.tuples(inner, inner),
    max_leaves=12,
)
HELLO = [{"role": "user", "content": "hello"}]


@pytest.fixture(autouse=True)
def _loud():
    with reraise_internal_errors():
        yield


def ask(fresh, prompt, model="gpt", error=None, **answer):
    call = LmCall(fresh.recorder, LmName("chat", "openai", model), instrumentor="tests")
    call.note_prompt(prompt)
    call.note_answer(Answer(input_tokens=10, **answer))
    call.end(error)


def repeated(fresh, **labels):
    return fresh.value("agent_lm_repeated_prompts_total", **{"gen_ai_request_model": "gpt", **labels}) or 0


def copied(value):
    """Make an equal value of other objects, as the next call would."""
    if isinstance(value, dict):
        return {"".join(list(key)): copied(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(copied(one) for one in value)
    return "".join(list(value)) if isinstance(value, str) else value


@given(PLAIN, PLAIN)
def test_equal_prompts_have_one_fingerprint_and_others_have_others(one, other):
    assert prompt_fingerprint(one) == prompt_fingerprint(copied(one))
    if repr(one) != repr(other) and one is not None:
        assert prompt_fingerprint(one) != prompt_fingerprint(other)


def test_whether_the_interpreter_shares_a_text_makes_no_difference():
    shared, own = sys.intern("role of a message"), "".join(list("role of a message"))
    assert shared is not own
    several = [own, own]
    assert prompt_fingerprint([{shared: shared}]) == prompt_fingerprint([{own: own}])
    assert prompt_fingerprint(several) == prompt_fingerprint([shared, "".join(list("role of a message"))])


def test_the_key_is_of_the_process(monkeypatch):
    before = prompt_fingerprint(HELLO)
    monkeypatch.setattr(prompts, "_KEY", os.urandom(16))
    assert prompt_fingerprint(HELLO) != before


def test_odd_objects_have_no_fingerprint_and_no_code_of_theirs_runs():
    class Loud:
        def _fail(self, *_):
            raise AssertionError

        __hash__ = __repr__ = __str__ = __eq__ = __reduce__ = __iter__ = _fail

    class Text(str):
        __slots__ = ()

    endless: list = []
    endless.append(endless)
    for odd in (Loud(), [Loud()], {"a": Loud()}, Text("a"), endless, object, SimpleNamespace()):
        assert prompt_fingerprint(odd) is None
    assert prompt_fingerprint("\ud800") is not None
    assert prompt_fingerprint(None) is None


def test_the_second_of_two_equal_prompts_is_a_repeated_one_of_its_agent(fresh):
    @agent("writer")
    @task
    def write():
        ask(fresh, copied(HELLO))

    write()
    assert repeated(fresh, gen_ai_agent_name="writer") == 0
    ask(fresh, copied(HELLO))
    assert repeated(fresh) == 1  # also of a prompt that another agent sent
    write()
    assert repeated(fresh, gen_ai_agent_name="writer") == 1


def test_another_model_another_parameter_or_no_plain_data_is_no_repeated_prompt(fresh):
    ask(fresh, (HELLO, {"temperature": 0}))
    ask(fresh, (HELLO, {"temperature": 0}), model="other")
    ask(fresh, (HELLO, {"temperature": 1}))
    for _ in range(2):
        ask(fresh, object())
        ask(fresh, None)
    assert repeated(fresh) == repeated(fresh, gen_ai_request_model="other") == 0
    ask(fresh, (HELLO, {"temperature": 1}), response_model="gpt-2026")  # whoever answered: it was asked the same
    assert repeated(fresh) == 1


def test_what_a_cache_answered_or_failed_neither_repeats_nor_is_repeated(fresh):
    ask(fresh, HELLO, is_cache_hit=True)
    ask(fresh, HELLO, error=ConnectionError())
    ask(fresh, HELLO)
    assert repeated(fresh) == 0
    ask(fresh, HELLO, is_cache_hit=True)
    ask(fresh, HELLO, error=ConnectionError())
    assert repeated(fresh) == 0
    ask(fresh, HELLO)
    assert repeated(fresh) == 1


def test_calls_of_many_threads_are_each_counted_once(fresh):
    def work():
        for _ in range(50):
            ask(fresh, HELLO)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert repeated(fresh) == 199


def test_a_forked_child_begins_anew_and_the_parent_goes_on():
    run("""
        from agentgauge.recording.lm_call import LmCall
        from agentgauge.recording.series import LmName

        def ask():
            call = LmCall(default_recorder(), LmName("chat", "openai", "gpt"), instrumentor="tests")
            call.note_prompt("hello")
            call.end()
            return value("agent_lm_repeated_prompts_total", gen_ai_request_model="gpt")

        def in_child():
            assert ask() is None
            assert ask() == 1

        assert ask() is None
        wait(fork(in_child))
        assert ask() == 1
    """)


def test_no_more_than_4096_prompts_are_remembered_and_those_of_late_the_longest():
    known = Prompts()
    assert not any(known.note(number) for number in range(4_096))
    assert known.note(0)
    assert not known.note(4_096)  # which is one too many
    assert known.note(0)
    assert not known.note(1)
    assert len(known._known) == 4_096


def test_no_content_is_kept(fresh):
    secret = "a secret of " + "the host's"
    ask(fresh, [{"content": secret}])
    assert secret not in repr(list(fresh.recorder.answers))
