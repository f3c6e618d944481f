"""``FunctionCheck``: what functions and coroutine functions of the user's say."""

from __future__ import annotations

import asyncio
import inspect

import pytest

from agentgauge.errors import ConfigurationError
from agentgauge.health.checks import FunctionCheck
from agentgauge.health.status import ComponentType, Finding, Schedule, Status

GIVEN = Finding(status=Status.WARNING, message="as it is", condition="own")


def look(function, **settings):
    return FunctionCheck(**{"name": "own", "function": function, **settings}).check()


def look_async(function, **settings):
    async def main():
        found = look(function, **settings)
        assert inspect.isawaitable(found)
        return await found

    return asyncio.run(main())


SAYINGS = pytest.mark.parametrize(
    ("said", "status", "condition", "message"),
    [
        (True, Status.HEALTHY, "", ""),
        (None, Status.HEALTHY, "", ""),
        (False, Status.DOWN, "failed", "own: its function returned False"),
        (Status.WARNING, Status.WARNING, "failed", ""),
        (Status.HEALTHY, Status.HEALTHY, "", ""),
        (Status.UNKNOWN, Status.UNKNOWN, "", ""),
        ((Status.CRITICAL, "no work"), Status.CRITICAL, "failed", "no work"),
        ((False, "no work"), Status.DOWN, "failed", "no work"),
        ((Status.DOWN, "at http://u:p@h/"), Status.DOWN, "failed", "at http://***@h/"),
        (GIVEN, Status.WARNING, "own", "as it is"),
        ("fine", Status.UNKNOWN, "error", "own: its function returned a str, which says nothing"),
        (1, Status.UNKNOWN, "error", "own: its function returned a int, which says nothing"),
        ((Status.DOWN, 3), Status.UNKNOWN, "error", "own: its function returned a tuple, which says nothing"),
    ],
)


@SAYINGS
def test_what_a_function_returns_is_what_was_found(said, status, condition, message):
    found = look(lambda: said)
    assert (found.status, found.condition, found.message) == (status, condition, message)
    assert bool(found.suggestions) is (condition in {"failed", "error"})


@SAYINGS
def test_what_a_coroutine_function_returns_is_what_was_found(said, status, condition, message):
    async def function():
        await asyncio.sleep(0)
        return said

    found = look_async(function)
    assert (found.status, found.condition, found.message) == (status, condition, message)


class OddError(Exception):
    pass


RAISED = pytest.mark.parametrize(
    ("error", "condition"),
    [
        (OddError("password=hunter2"), "error"),
        (ConnectionRefusedError(), "refused"),
        (TimeoutError(), "timeout"),
        (PermissionError(13, "no"), "permission"),
    ],
)


@RAISED
def test_what_a_function_raises_is_down_by_its_cause_and_without_secrets(error, condition):
    def function():
        raise error

    async def coroutine_function():
        raise error

    for found in (look(function), look_async(coroutine_function)):
        assert (found.status, found.condition, found.error_type) == (Status.DOWN, condition, type(error).__name__)
        assert "hunter2" not in repr(found)
        assert found.suggestions


def test_a_coroutine_that_takes_too_long_is_down():
    found = look_async(lambda: asyncio.sleep(60), schedule=Schedule(timeout_seconds=0.1))
    assert (found.status, found.condition) == (Status.DOWN, "timeout")


def test_a_cancellation_stays_one():
    async def main():
        task = asyncio.create_task(awaited())
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    async def awaited():
        return await look(lambda: asyncio.sleep(60))

    asyncio.run(main())


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit])
def test_what_is_no_exception_of_a_program_passes(error):
    def function():
        raise error

    with pytest.raises(error):
        look(function)


def test_it_is_custom_by_default_and_a_function_is_needed():
    assert FunctionCheck(name="f", function=bool).component_type is ComponentType.CUSTOM
    with pytest.raises(ConfigurationError, match="function"):
        FunctionCheck(name="f", function="ping")
