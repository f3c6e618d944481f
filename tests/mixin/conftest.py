"""The healthy run begins before the first test and is judged after the last one, so that its five minutes cost hardly any."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from healthy import HealthyRun

if TYPE_CHECKING:
    from collections.abc import Iterator

_begun: list[HealthyRun] = []
_failed: list[Exception] = []


def _is_about_it(item: pytest.Item) -> bool:
    return item.path.name == "test_mixin_healthy.py"


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the tests of the healthy run behind all others."""
    items.sort(key=_is_about_it)


def pytest_collection_finish(session: pytest.Session) -> None:
    """Begin the run, if any of its tests was chosen."""
    if session.config.option.collectonly or not any(map(_is_about_it, session.items)):
        return
    try:
        _begun.append(HealthyRun())
    except Exception as error:  # the others can do without it
        _failed.append(error)


def pytest_sessionfinish() -> None:
    """End it, also where the session was broken off."""
    while _begun:
        _begun.pop().stop()


@pytest.fixture(scope="module")
def healthy() -> Iterator[HealthyRun]:
    """Give the run that began with the session; it ends with the last test about it."""
    for error in _failed:
        raise error
    yield _begun[0]
    pytest_sessionfinish()
