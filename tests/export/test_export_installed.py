"""What is exported is what is shipped, however agentgauge was installed, and the servers take it."""

import copy
import json
import re
import shutil
import zipfile
from pathlib import PurePosixPath

import pytest

from agentgauge import cli
from expressions import read_yaml
from installation import ROOT, installed, pip, run

KINDS = (
    *("dashboards/*.json", "dashboards/provisioning/**/*.yaml"),
    *("alerts/rules/*.yml", "alerts/templates/*", "alerts/alertmanager.yml", "docs/runbooks/*.md"),
)
RECORD = ".agentgauge-export.json"
REPOSITORY = "https://github.com/agentgauge/agentgauge/blob/main/"


def files_of(folder):
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def checkout():
    return {str(path.relative_to(ROOT)): path.read_bytes() for kind in KINDS for path in ROOT.glob(kind)}


def exported(command, folder, *options):
    ended = run(command, "export", folder, *options, cwd=folder.parent)
    assert (ended.returncode, ended.stderr) == (0, "")
    assert str(folder) in ended.stdout
    found = files_of(folder)
    assert found.pop(RECORD)
    return found


def alerts_of(files):
    documents = [read_yaml(content) for path, content in sorted(files.items()) if path.startswith("alerts/rules/")]
    rules = [rule for document in documents for group in document["groups"] for rule in group["rules"] if "alert" in rule]
    return [copy.deepcopy(rule) for rule in rules]  # those of one anchor in the text are one object else


def test_a_wheel_exports_what_the_checkout_has_byte_for_byte(from_wheel, tmp_path):
    files = exported(from_wheel, tmp_path / "out")
    assert files == checkout()
    for kind in ("dashboards/[a-z]+.json", "alerts/rules/[a-z]+.yml", r"docs/runbooks/\w+.md", "dashboards/provisioning/.+"):
        assert any(re.fullmatch(kind, path) for path in files), kind


def dangling(text, files):
    """Return the project's files that a text names and that are neither exported nor named by their address."""
    named = re.findall(rf"({REPOSITORY}|(?<![\w/.-]))((?:alerts|dashboards|deploy|docs|examples|kubernetes)/[\w./-]*\w)", text)
    there = {str(above) for path in files for above in (path, *PurePosixPath(path).parents)}
    return [path for base, path in named if (not (ROOT / path).exists() if base else path not in there)]


@pytest.mark.parametrize("options", [[], ["--format", "kubernetes", "--keda", "agents"]], ids=["files", "kubernetes"])
def test_whatever_an_export_from_a_wheel_names_is_exported_with_it_or_has_an_address(from_wheel, tmp_path, options):
    ended = run(from_wheel, "export", "out", *options, cwd=tmp_path)
    assert (ended.returncode, ended.stderr) == (0, "")
    files = files_of(tmp_path / "out")
    told = ended.stdout.replace("out/", "")
    assert re.search(r"(alerts|kubernetes)\b", told)
    assert dangling(told, files) == []
    assert {path: found for path, content in files.items() if (found := dangling(content.decode(), files))} == {}
    assert dangling(run(from_wheel, "export", "--help", cwd=tmp_path).stdout, files) == []


def test_a_page_that_no_wheel_has_and_an_address_that_leads_nowhere_are_found():
    text = f"see docs/export.md, {REPOSITORY}docs/export.md, {REPOSITORY}docs/gone.md#a and docs/runbooks"
    assert dangling(text, ["docs/runbooks/A.md"]) == ["docs/export.md", "docs/gone.md"]


def test_a_checkout_installed_for_editing_exports_the_same(tmp_path):
    command = installed(tmp_path / "venv", "--editable", ROOT)
    assert exported(command, tmp_path / "out") == checkout()


def test_the_source_distribution_has_what_its_wheel_must_have(wheel, sdist, tmp_path):
    pip("wheel", "--no-build-isolation", "--wheel-dir", tmp_path, sdist)
    [other] = tmp_path.glob("*.whl")
    with zipfile.ZipFile(wheel) as one, zipfile.ZipFile(other) as two:
        assert sorted(one.namelist()) == sorted(two.namelist())
        odd = [name for name in one.namelist() if not re.match(r"agentgauge(-[\w.]+dist-info)?/", name)]
        assert odd == []
        assert "agentgauge/py.typed" in one.namelist()


@pytest.mark.servers
def test_the_servers_take_what_a_wheel_exports(from_wheel, tmp_path):
    exported(from_wheel, tmp_path / "out", "--dashboard-url", "https://grafana.example.com")
    rules = [str(path) for path in (tmp_path / "out/alerts/rules").glob("*.yml")]
    checked = run("promtool", "check", "rules", "--lint=all", "--lint-fatal", *rules)
    assert checked.returncode == 0, checked.stdout + checked.stderr
    checked = run("amtool", "check-config", tmp_path / "out/alerts/alertmanager.yml")
    assert checked.returncode == 0, checked.stdout + checked.stderr


@pytest.mark.parametrize(
    ("base", "address"),
    [
        ("https://docs.example.com/runbooks", "https://docs.example.com/runbooks/{alert}.md"),
        ("https://docs.example.com/runbooks/", "https://docs.example.com/runbooks/{alert}.md"),
        ("http://wiki:8080/x?page={alert}&v=1", "http://wiki:8080/x?page={alert}&v=1"),
    ],
)
def test_alerts_lead_to_ones_own_runbooks_and_dashboards_and_are_else_the_same(base, address, tmp_path, capsys):
    words = ["export", str(tmp_path / "o"), "--runbook-url", base, "--dashboard-url", "https://grafana.example.com/sub/"]
    assert cli.main(words) == 0
    files = files_of(tmp_path / "o")
    del files[RECORD]
    before, after = alerts_of(checkout()), alerts_of(files)
    assert before
    for rule in before:
        annotations = rule["annotations"]
        annotations["runbook_url"] = address.replace("{alert}", rule["alert"])
        annotations["dashboard_url"] = f"https://grafana.example.com/sub{annotations['dashboard_url']}"
    assert after == before
    rest = {path for path, content in files.items() if checkout()[path] != content}
    assert all(path.startswith(("alerts/rules/", "alerts/templates/")) for path in rest)


@pytest.mark.servers
@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ([], "https://grafana.example/d/x"),
        (["--dashboard-url", "https://grafana.example.com"], "https://grafana.example.com/d/x"),
    ],
)
def test_a_message_leads_to_the_dashboard_whatever_address_was_given(options, expected, tmp_path):
    assert cli.main(["export", str(tmp_path / "o"), *options]) == 0
    path = expected if options else "/d/x"
    (tmp_path / "data.json").write_text(json.dumps({"alerts": [{"status": "firing", "annotations": {"dashboard_url": path}}]}))
    template = ["--template.glob", tmp_path / "o/alerts/templates/*", "--template.data", tmp_path / "data.json"]
    shown = run("amtool", "template", "render", *template, "--template.text", '{{ template "agentgauge.dashboard" . }}')
    assert (shown.returncode, shown.stdout.strip()) == (0, expected), shown.stderr


def test_an_installation_that_is_not_whole_says_so(from_wheel, tmp_path):
    venv = tmp_path / "venv"
    shutil.copytree(from_wheel.parents[1], venv, symlinks=True)
    [shipped] = venv.glob("lib/python*/site-packages/agentgauge/shipped")
    shutil.rmtree(shipped / "alerts" / "rules")
    ended = run(venv / "bin" / "python", "-m", "agentgauge", "export", tmp_path / "out", cwd=tmp_path)
    assert (ended.returncode, ended.stdout) == (2, "")
    assert ended.stderr == (
        "agentgauge export: this installation has no dashboards and rules with it: install agentgauge anew, from its wheel\n"
    )
    assert not (tmp_path / "out").exists()
