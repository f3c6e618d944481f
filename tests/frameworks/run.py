"""``make test-frameworks``: each framework's tests with the oldest version that is promised, and with the newest that there is.

Each version gets an environment of its own under ``.framework-venvs/``, made by pip alone, as a user would get it. Where one does
not install, or not all its tests pass, its row says so, and the run fails. What ran goes into ``docs/frameworks-tested.md``.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import re
import subprocess
import sys
import tempfile
import tomllib
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING
from xml.etree import ElementTree as ET

from tested_page import Row, updated

from agentgauge.instrumentors.roster import FRAMEWORKS

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

ROOT = Path(__file__).parents[2]
ENVIRONMENTS = ROOT / ".framework-venvs"
PAGE = ROOT / "docs" / "frameworks-tested.md"
RUNNER = ("pytest>=9", "pytest-asyncio>=1.3")
INSTALL_SECONDS = 600
TEST_SECONDS = 600


@dataclass(frozen=True)
class Environment:
    """One version of one framework, and its tests.

    Attributes:
        framework: Its name in ``environments.toml``.
        package: What is tested.
        which: ``minimum`` or ``latest``.
        requirements: What pip installs.
        tests: The test modules, relative to the root.
        warnings: What pytest does with warnings.
    """

    framework: str
    package: str
    which: str
    requirements: tuple[str, ...]
    tests: tuple[str, ...]
    warnings: str = "error"

    @property
    def folder(self) -> Path:
        return ENVIRONMENTS / f"{self.framework}-{self.which}"

    @property
    def python(self) -> Path:
        return self.folder / "bin" / "python"

    def make(self, *, is_kept: bool) -> str:
        """Make it anew, unless what is there was made of the same and is to be kept; return what went wrong, or nothing."""
        done = self.folder / "requirements.txt"
        text = "\n".join(self.requirements)
        if is_kept and done.exists() and done.read_text(encoding="utf-8") == text:
            return ""
        commands = (
            [sys.executable, "-m", "venv", "--clear", "--without-pip", str(self.folder)],
            [*_pip(self.python, "install"), "--quiet", *self.requirements],
        )
        for command in commands:
            output, code = _run(command, INSTALL_SECONDS)
            if code:
                return f"does not install: {_reason(output)}"
        done.write_text(text, encoding="utf-8")
        return ""

    def version(self) -> str:
        """Return the version of the package that is installed."""
        output, code = _run([*_pip(self.python, "list"), "--format", "json"], INSTALL_SECONDS)
        listed = json.loads(output.splitlines()[0]) if code == 0 else []
        return next((each["version"] for each in listed if each["name"].lower().replace("_", "-") == self.package), "")

    def test(self) -> tuple[str, bool]:
        """Run the tests; return what became of them, and whether all passed."""
        if not self.tests:
            return "no tests", False
        with tempfile.TemporaryDirectory() as folder:
            report = Path(folder) / "report.xml"
            command = [
                str(self.python),
                "-m",
                "pytest",
                "-q",
                "-p",
                "no:cacheprovider",
                f"--junitxml={report}",
                "-W",
                self.warnings,
                *self.tests,
            ]
            output, code = _run(command, TEST_SECONDS)
            sys.stdout.write(output if code else "")
            suites = list(ET.parse(report).getroot().iter("testsuite")) if report.exists() else []
        count = {name: sum(int(suite.get(name, 0)) for suite in suites) for name in ("tests", "failures", "errors", "skipped")}
        bad = count["failures"] + count["errors"]
        passed = count["tests"] - bad - count["skipped"]
        if code == 0 and passed:
            return f"{passed} passed" + (f", {count['skipped']} skipped" if count["skipped"] else ""), True
        return (f"{bad} of {count['tests']} failed" if bad else _reason(output)), False


def environments(table: Path, only: re.Pattern[str], versions: Sequence[str]) -> Iterator[Environment]:
    """Yield those of the table that are asked for."""
    for entry in tomllib.loads(table.read_text(encoding="utf-8"))["framework"]:
        name, package = entry["name"], entry["package"]
        if not only.search(name):
            continue
        ours = f"{ROOT}[{entry['extra']}]" if "extra" in entry else str(ROOT)
        minimum = entry.get("minimum") or FRAMEWORKS[name].minimum_version
        tests = sorted({str(path.relative_to(ROOT)) for pattern in entry["tests"] for path in ROOT.glob(pattern)})
        for which in versions:
            wanted = f"{package}=={minimum}" if which == "minimum" else package
            beside = (*entry.get("beside", ()), *entry.get(f"beside_{which}", ()))
            yield Environment(
                name, package, which, ("--editable", ours, wanted, *beside, *RUNNER), tuple(tests), entry.get("warnings", "error")
            )


def main(arguments: Sequence[str] | None = None) -> int:
    """Make, test, and write the page; return 1 where anything failed, 2 where nothing has the name."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", type=re.compile, default=re.compile(""), metavar="REGEX", help="only frameworks that match")
    parser.add_argument("--version", choices=("minimum", "latest"), action="append", help="only that version")
    parser.add_argument("--keep", action="store_true", help="use the environments that are there, the latest as of then included")
    parser.add_argument("--no-page", action="store_true", help="leave the page as it is")
    options = parser.parse_args(arguments)
    table = Path(__file__).with_name("environments.toml")
    order = [entry["name"] for entry in tomllib.loads(table.read_text(encoding="utf-8"))["framework"]]
    chosen = list(environments(table, options.only, options.version or ("minimum", "latest")))
    if not chosen:
        sys.stdout.write(f"no framework matches {options.only.pattern!r}; there are: {', '.join(order)}\n")
        return 2
    date = datetime.now(UTC).date().isoformat()
    is_good = True
    for environment in chosen:
        problem = environment.make(is_kept=options.keep)
        version = "" if problem else environment.version()
        result, passed = (problem, False) if problem else environment.test()
        is_good &= passed
        row = Row(environment.framework, environment.package, environment.which, version, platform.python_version(), result, date)
        sys.stdout.write(f"{row}\n")
        sys.stdout.flush()
        if not options.no_page:  # at once: the next may take minutes
            PAGE.write_text(updated(PAGE.read_text(encoding="utf-8"), [row], order), encoding="utf-8")
    return 0 if is_good else 1


def _pip(python: Path, command: str) -> list[str]:
    return [sys.executable, "-m", "pip", "--python", str(python), "--disable-pip-version-check", command]


def _run(command: Sequence[str], seconds: float) -> tuple[str, int]:
    try:
        done = subprocess.run(
            command,
            cwd=ROOT,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=seconds,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return f"not done within {seconds:.0f} s", 124
    return done.stdout, done.returncode


def _reason(output: str) -> str:
    """Return one line of a failed command's output that tells something, without addresses and paths."""
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    line = next((line for line in lines if re.search(r"error|conflict|requires", line, re.IGNORECASE)), (lines or ["?"])[-1])
    return re.sub(r"\w+://\S+|(?<![\w.])/[\w./-]+", "...", line).replace("|", "/")[:160]


if __name__ == "__main__":
    os.chdir(ROOT)
    sys.exit(main())
