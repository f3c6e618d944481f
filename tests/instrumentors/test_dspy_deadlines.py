"""A signal handler of the host that raises anywhere in our part of a call of DSPy's leaves no call open and no agent behind."""

from __future__ import annotations

import sys
from functools import partial
from types import SimpleNamespace

import dspy
import pytest
from dspy_programs import Engine, instrumented, lm_of

from agentgauge.recording.recorder import END
from agentgauge.recording.site import current_agent


class Deadline(BaseException):
    """What the handler raises."""


def raise_at(point):
    """Raise where CPython looks for signals for the so-manieth time in our own code."""
    seen = 0

    def interrupt(_signal, _frame):
        raise Deadline

    def profile(frame, event, _argument):
        nonlocal seen
        is_made = event == "return" and frame.f_code.co_name == "__init__"  # a constructor: a call of a type is one in C
        if (is_made or event in ("call", "c_return")) and "/src/agentgauge/" in frame.f_code.co_filename:
            seen += 1
            if seen == point:
                sys.setprofile(None)
                interrupt(14, frame)

    sys.setprofile(profile)


def embed(texts):
    return [[float(len(text))] for text in texts]


class Optimizer(dspy.teleprompt.Teleprompter):
    def compile(self, student, **_):
        return student


def retriever():
    found = dspy.Embeddings.__new__(dspy.Embeddings)
    found.embedder = embed
    found.forward = lambda query: []
    return found


PROGRAMS = {
    "model": lambda: partial(lm_of(Engine()), "hello"),
    "embedder": lambda: partial(dspy.Embedder(embed), ["a", "b"]),
    "retriever": lambda: partial(retriever(), "a"),
    "optimizer": lambda: partial(Optimizer().compile, None),
}


@pytest.mark.usefixtures("no_collections")
@pytest.mark.parametrize("has_spans", [False, True], ids=["without spans", "with spans"])
@pytest.mark.parametrize("program", PROGRAMS)
def test_a_deadline_at_any_moment_leaves_nothing_open(fresh, request, monkeypatch, program, has_spans):
    if has_spans:
        request.getfixturevalue("spans")
    numpy = SimpleNamespace(array=lambda vectors, dtype: list(vectors), float32=float)
    monkeypatch.setattr("dspy.clients.embedding.np", numpy)
    left = []
    cuts = 0
    with instrumented():
        run = PROGRAMS[program]()
        run()
        while True:
            raise_at(cuts + 1)
            try:
                run()
                break
            except Deadline:
                cuts += 1
            finally:
                sys.setprofile(None)
            fresh.value("up")
            still_open = [record for record in (*fresh.recorder.open, *fresh.recorder.buffer) if record[END] is None]
            if still_open or current_agent.get() != "":
                left.append(cuts)
                break

    assert left == []
    assert cuts > 20
