"""The healthy run begins early in the session and is judged at its end, so that its five minutes cost hardly any."""

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
    """Put the tests of the collectors before all others, and those of the healthy run behind them."""
    items.sort(key=lambda item: (_is_about_it(item), "collectors" not in item.path.parts))


def pytest_collection_finish(session: pytest.Session) -> None:
    """Let the run begin, if any of its tests was chosen."""
    if not session.config.option.collectonly and any(map(_is_about_it, session.items)):
        session.config.pluginmanager.register(_Starter())


class _Starter:
    """Begins the run once the tests of the collectors are through: they count the children of this process."""

    def pytest_runtest_setup(self, item: pytest.Item) -> None:
        if _begun or _failed or "collectors" in item.path.parts:
            return
        try:
            _begun.append(HealthyRun(item.config._tmp_path_factory.getbasetemp()))
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
