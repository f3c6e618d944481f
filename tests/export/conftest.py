"""agentgauge as people get it: a wheel and a source distribution that were built now, without a network."""

from __future__ import annotations

import sys

import pytest

from installation import ROOT, installed, pip, run


@pytest.fixture(scope="session")
def wheel(tmp_path_factory):
    folder = tmp_path_factory.mktemp("wheel")
    pip("wheel", "--no-build-isolation", "--wheel-dir", folder, ROOT)
    [wheel] = folder.glob("*.whl")
    return wheel


@pytest.fixture(scope="session")
def sdist(tmp_path_factory):
    folder = tmp_path_factory.mktemp("sdist")
    ended = run(sys.executable, "-m", "hatchling", "build", "--target", "sdist", "--directory", folder)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    [sdist] = folder.glob("*.tar.gz")
    return sdist


@pytest.fixture(scope="session")
def from_wheel(wheel, tmp_path_factory):
    """Give the command ``agentgauge`` of an environment that has the wheel, and no checkout."""
    return installed(tmp_path_factory.mktemp("installed") / "venv", wheel)
