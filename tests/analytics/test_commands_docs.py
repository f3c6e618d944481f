"""Every command about analysis that a page shows runs, over a history of the name that the pages use."""

from __future__ import annotations

import json
import re
import shlex
import shutil
from pathlib import Path

import pytest

from agentgauge import cli

ROOT = Path(__file__).parents[2]
PAGES = [
    ROOT / "README.md",
    *(
        page
        for name in ("monitoring", "templates", "troubleshooting", "architecture")
        for page in sorted((ROOT / "docs" / name).glob("*.md"))
    ),
]
COMMAND = re.compile(
    r"^\$ agentgauge ((?:report|trends|anomalies|forecast|explain|recommend|slo|compare|top)\b.*)$", re.MULTILINE
)
FIRST_ON = {
    line: page.stem  # one that stands on several pages is run once
    for page in reversed(PAGES)
    for block in re.findall(r"```console\n(.*?)```", page.read_text(), re.DOTALL)
    for line in COMMAND.findall(block)
}
LINES = [pytest.param(line, id=f"{stem}-{number}") for number, (line, stem) in enumerate(FIRST_ON.items())]


@pytest.fixture(scope="module")
def folder(tmp_path_factory, day):
    """A folder with the history, the alert and the spans that the pages name."""
    folder = tmp_path_factory.mktemp("pages")
    shutil.copytree(day.path.parent, folder, dirs_exist_ok=True)
    alert = {"labels": {"alertname": "Slow", "gen_ai_agent_name": "researcher"}, "startsAt": day.slow[0] + 300}
    (folder / "alert.json").write_text(json.dumps([alert]))
    span = {"trace_id": "t", "span_id": "s", "name": "research", "start": day.slow[0] + 60, "end": day.slow[0] + 64}
    (folder / "spans.jsonl").write_text(json.dumps(span))
    return folder


@pytest.mark.parametrize("line", LINES)
def test_every_command_of_a_page_gives_an_answer(line, folder, monkeypatch, capsys):
    monkeypatch.chdir(folder)
    monkeypatch.setenv("AGENTGAUGE_HISTORY_FILE", "history.db")
    words = [re.sub(r"^https?://\S+:9090$", "history.db", word) for word in shlex.split(line.partition(" | ")[0])]
    assert cli.main(words) == 0, capsys.readouterr().err
    shown = capsys.readouterr()
    assert shown.out or shown.err.startswith("wrote ")


def test_the_pages_have_commands():
    assert len(LINES) > 10
