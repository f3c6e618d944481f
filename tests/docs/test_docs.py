"""What the docs say holds: snippets run, names exist, links lead somewhere."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import textwrap
from dataclasses import MISSING, fields
from pathlib import Path

import pytest
import yaml

import agentgauge
from agentgauge.catalogue import FAMILIES, Kind
from agentgauge.config import Config

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])

SERIES = {
    name
    for family in FAMILIES
    for name in (
        family.name,
        family.base_name,
        *(f"{family.name}{suffix}" for suffix in ("_bucket", "_count", "_sum") if family.kind is Kind.HISTOGRAM),
    )
}
LABELS = {label for family in FAMILIES for label in family.labels}
SOURCES = [*(ROOT / "src").rglob("*.py")]
MODULES = {path.parent.name if path.name == "__init__.py" else path.stem for path in SOURCES}
METRIC = re.compile(r"(?<![\w:])(?:gen_ai|agent|agents|agentgauge|system|process|python)_[a-z0-9_]*[a-z0-9]\b(?!:)")


def blocks(page: str, language: str) -> list[str]:
    fenced = re.findall(rf"^ *```{language}\n(.*?)```", page, re.DOTALL | re.MULTILINE)
    return [textwrap.dedent(code) for code in fenced]  # that of a list is indented


def run_python(code: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """Run a program; what it makes in temporary folders lies in this one."""
    environment = {**os.environ, "AGENTGAUGE_PORT": "0", "TMPDIR": str(folder)}
    return subprocess.run([sys.executable, "-c", code], env=environment, text=True, capture_output=True, timeout=60, check=False)


@pytest.mark.parametrize(
    "code",
    [
        pytest.param(code, id=f"{page.name}-{number}")
        for page in PAGES
        for number, code in enumerate(blocks(page.read_text(), "python"))
    ],
)
def test_every_python_snippet_runs(code, tmp_path):
    result = run_python(code, tmp_path)
    assert result.returncode == 0, result.stderr
    assert result.stderr == ""


def test_the_metrics_in_the_readme_are_what_its_program_shows(tmp_path):
    listing = r"""
import urllib.request, agentgauge.monitor
page = urllib.request.urlopen(agentgauge.start().url).read().decode()
for line in page.splitlines():
    if line.startswith(("agent_", "gen_ai_")) and "_bucket" not in line:
        print(line)
"""
    shown = run_python(blocks(README, "python")[0] + listing, tmp_path)
    assert shown.returncode == 0, shown.stderr
    console = next(block for block in blocks(README, "console") if "curl" in block)
    documented = console.splitlines()[1:]
    assert [without_time(line) for line in documented] == [without_time(line) for line in shown.stdout.splitlines()]


def without_time(line: str) -> str:
    """Leave a line's value out where it is a time, which differs from run to run."""
    name, value = line.rsplit(" ", 1)
    return name if re.search(r"_seconds_sum|_timestamp_seconds", name) else f"{name} {value}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_metric_that_a_page_names_exists(page):
    prose = (
        re.findall(r"`([^`\n]+)`", page.read_text()) + blocks(page.read_text(), "promql") + blocks(page.read_text(), "console")
    )
    named = {name for text in prose for name in METRIC.findall(text)}
    assert named - SERIES - LABELS - MODULES - {"gen_ai_client", "agent_"} == set()


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_link_within_the_project_leads_somewhere(page):
    targets = [link.split("#")[0] for link in re.findall(r"\]\(([^)\s]+)\)", page.read_text()) if "://" not in link]
    assert [target for target in targets if target and not (page.parent / target).exists()] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_make_target_that_a_page_names_exists(page):
    targets = set(
        re.findall(
            r"\bmake ([a-z-]+)", " ".join(re.findall(r"`([^`\n]+)`", page.read_text()) + blocks(page.read_text(), "console"))
        )
    )
    makefile = (ROOT / "Makefile").read_text()
    assert [target for target in targets if not re.search(rf"^{target}:", makefile, re.MULTILINE)] == []


ARGUMENTS_ALONE = {"content_redactor": "none", "prices": "none: see `prices_file`"}


def test_every_setting_stands_in_the_readme_with_its_default():
    for setting in fields(Config):
        default = setting.default if setting.default is not MISSING else {}
        shown = repr(default).replace("'", '"')
        variable = ARGUMENTS_ALONE.get(setting.name, f"`AGENTGAUGE_{setting.name.upper()}`")
        assert f"| `{setting.name}` | {variable} | `{shown}` |" in README


@pytest.mark.parametrize("name", ARGUMENTS_ALONE)
@pytest.mark.parametrize("text", ["{}", '{"m": {"input_usd_per_million": 1, "output_usd_per_million": 2}}', "re:sub", "none"])
def test_a_setting_without_a_variable_in_the_readme_takes_none(name, text):
    variable = f"AGENTGAUGE_{name.upper()}"
    with pytest.raises(agentgauge.ConfigurationError, match=variable):
        Config.load({variable: text})
    assert [page.name for page in PAGES if re.search(rf"{variable}\b", page.read_text())] == []


def test_the_yaml_in_the_readme_is_a_configuration_of_prometheus():
    merged = {key: value for block in blocks(README, "yaml") for key, value in yaml.safe_load(block).items()}
    assert set(merged) == {"scrape_configs", "rule_files", "alerting"}
    assert [job["job_name"] for job in merged["scrape_configs"]] == ["agentgauge", "prometheus", "alertmanager"]
    (pattern,) = merged["rule_files"]
    assert set(ROOT.glob(pattern)) == set((ROOT / "alerts/rules").iterdir())  # an export writes the same paths


def test_every_public_name_has_a_docstring():
    without = [name for name in agentgauge.__all__ if not name.startswith("__") and not getattr(agentgauge, name).__doc__]
    assert without == []


def test_at_most_fifteen_names_are_public_and_each_is_listed():
    public = {name for name in dir(agentgauge) if not name.startswith("_")} | {"__version__"}
    modules = {name for name in public if type(getattr(agentgauge, name)).__name__ == "module"}
    assert sorted(public - modules) == sorted(agentgauge.__all__)
    assert len(agentgauge.__all__) <= 15
