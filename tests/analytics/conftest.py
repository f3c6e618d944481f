"""What tests of several modules ask about."""

from __future__ import annotations

import pytest

from made_day import make_day


@pytest.fixture(scope="session")
def day(tmp_path_factory):
    """A day of a small fleet in a history, which is read and never written to."""
    return make_day(tmp_path_factory.mktemp("day") / "history.db")
