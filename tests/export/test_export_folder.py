"""Nothing of somebody else's is lost in the folder that is exported to."""

import json
import os
import secrets
from functools import partial
from pathlib import Path

import pytest

from agentgauge import cli
from agentgauge.export.folder import RECORD, ExportError
from agentgauge.export.folder import write as write_under

FILES = {"alerts/rules/a.yml": b"groups: []\n", "dashboards/b.json": b"{}\n"}
write = partial(write_under, roots={"alerts", "dashboards", "d"})


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "made" / "here"


def files_of(folder):
    return {
        str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file() and path.name != RECORD
    }


def refused(folder, files=FILES, *, is_forced=False):
    """Return why nothing is written, and see that nothing was."""
    before = files_of(folder) if folder.is_dir() else None
    with pytest.raises(ExportError) as raised:
        write(folder, files, is_forced=is_forced)
    assert (files_of(folder) if folder.is_dir() else None) == before
    return str(raised.value)


def test_all_files_are_written_as_the_umask_says_and_nothing_else_is_left(folder):
    before = os.umask(0o022)
    try:
        done = write(folder, FILES)
    finally:
        os.umask(before)
    assert (done.written, done.unchanged, done.removed, done.left) == (list(FILES), [], [], [])
    assert files_of(folder) == FILES
    assert {path.stat().st_mode & 0o777 for path in folder.rglob("*") if path.is_file()} == {0o644}


def test_what_is_there_already_is_left_as_it_is(folder):
    write(folder, FILES)
    os.utime(folder / "dashboards/b.json", (1, 1))
    done = write(folder, FILES)
    assert (done.written, done.unchanged) == ([], list(FILES))
    assert (folder / "dashboards/b.json").stat().st_mtime == 1


def test_what_an_export_wrote_a_later_one_replaces_and_what_it_ships_no_more_is_removed(folder):
    write(folder, FILES)
    done = write(folder, {"dashboards/b.json": b"{1}\n", "dashboards/c.json": b"{}\n"})
    assert (done.written, done.removed) == (["dashboards/b.json", "dashboards/c.json"], ["alerts/rules/a.yml"])
    assert files_of(folder) == {"dashboards/b.json": b"{1}\n", "dashboards/c.json": b"{}\n"}


def test_what_another_kind_of_export_wrote_is_left_to_it(folder):
    write(folder, FILES)
    other = {"kubernetes/a.json": b"{}\n"}
    done = write_under(folder, other, {"kubernetes"})
    assert (done.removed, done.left) == ([], [])
    assert files_of(folder) == {**FILES, **other}
    done = write(folder, {"dashboards/b.json": b"{2}\n"})
    assert (done.removed, done.left) == (["alerts/rules/a.yml"], [])
    assert files_of(folder) == {"dashboards/b.json": b"{2}\n", **other}
    assert write_under(folder, {}, {"kubernetes"}).removed == ["kubernetes/a.json"]


def test_a_file_that_was_changed_is_kept_though_it_is_shipped_no_more(folder):
    write(folder, FILES)
    (folder / "alerts/rules/a.yml").write_text("mine")
    done = write(folder, {"dashboards/b.json": b"{}\n"})
    assert (done.removed, done.left) == ([], ["alerts/rules/a.yml"])
    assert (folder / "alerts/rules/a.yml").read_text() == "mine"
    again = write(folder, {"dashboards/b.json": b"{}\n"})
    assert (again.removed, again.left) == ([], [])


def test_a_strange_file_is_replaced_by_force_alone(folder):
    (folder / "dashboards").mkdir(parents=True)
    (folder / "dashboards/b.json").write_text("mine")
    message = refused(folder)
    assert "dashboards/b.json" in message
    assert "--force" in message
    assert not (folder / "alerts").exists()
    write(folder, FILES, is_forced=True)
    assert files_of(folder) == FILES


def test_a_file_that_was_changed_after_an_export_is_replaced_by_force_alone(folder):
    write(folder, FILES)
    (folder / "dashboards/b.json").write_text("mine")
    assert "changed after it: dashboards/b.json;" in refused(folder, {**FILES, "dashboards/b.json": b"new"})
    write(folder, {**FILES, "dashboards/b.json": b"new"}, is_forced=True)
    assert (folder / "dashboards/b.json").read_text() == "new"


def test_many_files_in_the_way_are_named_in_part(folder):
    files = {f"d/{number}.json": b"{}" for number in range(8)}
    (folder / "d").mkdir(parents=True)
    for path in files:
        (folder / path).write_text("mine")
    assert "d/0.json, d/1.json, d/2.json, d/3.json, d/4.json and 3 more;" in refused(folder, files)


@pytest.mark.parametrize("is_forced", [False, True])
def test_a_link_to_a_folder_leads_nowhere_else(folder, tmp_path, is_forced):
    folder.mkdir(parents=True)
    (tmp_path / "elsewhere").mkdir()
    (folder / "alerts").symlink_to(tmp_path / "elsewhere")
    assert f"{folder / 'alerts'}: a link in the way" in refused(folder, is_forced=is_forced)
    assert list((tmp_path / "elsewhere").iterdir()) == []


@pytest.mark.parametrize("target", ["precious", "missing"])
def test_a_link_in_a_files_place_is_replaced_by_force_and_never_followed(folder, tmp_path, target):
    (tmp_path / "precious").write_bytes(FILES["dashboards/b.json"])  # even where the content is what would be written
    (folder / "dashboards").mkdir(parents=True)
    (folder / "dashboards/b.json").symlink_to(tmp_path / target)
    assert "dashboards/b.json" in refused(folder)
    write(folder, {**FILES, "dashboards/b.json": b"new"}, is_forced=True)
    assert not (folder / "dashboards/b.json").is_symlink()
    assert (folder / "dashboards/b.json").read_bytes() == b"new"
    assert (tmp_path / "precious").read_bytes() == FILES["dashboards/b.json"]
    assert not (tmp_path / "missing").exists()


@pytest.mark.parametrize("target", ["precious", "missing"])
def test_a_link_at_the_name_of_the_new_file_is_not_followed_and_stays(folder, tmp_path, monkeypatch, target):
    (tmp_path / "precious").write_text("mine")
    (folder / "dashboards").mkdir(parents=True)
    monkeypatch.setattr(secrets, "token_hex", lambda size: "guessed" * (size > 7))
    link = folder / "dashboards/.b.json.guessed"
    link.symlink_to(tmp_path / target)
    with pytest.raises(ExportError, match="File exists"):
        write(folder, FILES)
    assert link.is_symlink()
    assert not (folder / "dashboards/b.json").exists()
    assert (tmp_path / "precious").read_text() == "mine"
    assert not (tmp_path / "missing").exists()


def test_no_two_new_files_have_the_same_name_before_they_are_moved(folder, monkeypatch):
    names = []
    real = Path.replace
    monkeypatch.setattr(Path, "replace", lambda new, file: (names.append(new.name), real(new, file)))
    write(folder, FILES)
    write(folder, {path: content + b"#" for path, content in FILES.items()})
    assert len(set(names)) == len(names) == 6


def test_the_folder_itself_may_be_a_link(folder, tmp_path):
    (tmp_path / "real").mkdir()
    folder.parent.mkdir()
    folder.symlink_to(tmp_path / "real")
    write(folder, FILES)
    assert files_of(tmp_path / "real") == FILES


@pytest.mark.parametrize("is_forced", [False, True])
@pytest.mark.parametrize("way", ["", "alerts", "alerts/rules"])
def test_a_file_where_a_folder_must_be_is_kept(folder, way, is_forced):
    place = folder / way
    place.parent.mkdir(parents=True, exist_ok=True)
    place.write_text("mine")
    assert f"{place}: a file where a folder must be" in refused(folder, is_forced=is_forced)
    assert place.read_text() == "mine"


@pytest.mark.parametrize("is_forced", [False, True])
def test_a_folder_where_a_file_must_be_is_kept(folder, is_forced):
    (folder / "dashboards/b.json").mkdir(parents=True)
    (folder / "dashboards/b.json/mine").write_text("mine")
    assert "b.json" in refused(folder, is_forced=is_forced)


@pytest.mark.parametrize("is_forced", [False, True])
def test_a_folder_where_the_record_must_be_is_seen_before_anything_is_written(folder, is_forced):
    (folder / RECORD).mkdir(parents=True)
    assert f"{folder / RECORD}: a file where a folder must be, or the other way round" in refused(folder, is_forced=is_forced)
    assert [path.name for path in folder.iterdir()] == [RECORD]


@pytest.mark.parametrize("is_forced", [False, True])
def test_a_record_that_is_a_link_is_refused(folder, tmp_path, is_forced):
    folder.mkdir(parents=True)
    (tmp_path / "precious").write_text("mine")
    (folder / RECORD).symlink_to(tmp_path / "precious")
    assert f"{folder / RECORD}: a link in the way" in refused(folder, is_forced=is_forced)
    assert (tmp_path / "precious").read_text() == "mine"


@pytest.mark.parametrize("record", ["", "[]", "{", '{"files": 1}', '{"files": {"a": 1}}', "[" * 100_000])
def test_what_is_no_record_of_an_export_allows_nothing(folder, record):
    write(folder, FILES)
    (folder / RECORD).write_text(record)
    assert write(folder, FILES).unchanged == list(FILES)
    (folder / RECORD).write_text(record)
    assert "dashboards/b.json" in refused(folder, {"dashboards/b.json": b"new"})


def test_a_record_that_names_files_outside_removes_none_of_them(folder, tmp_path):
    write(folder, FILES)
    outside = tmp_path / "outside"
    outside.write_bytes(FILES["dashboards/b.json"])
    (folder / "away").symlink_to(tmp_path)
    record = json.loads((folder / RECORD).read_text())
    checksum = record["files"]["dashboards/b.json"]
    for path in (str(outside), "../../outside", "dashboards/../../../outside", "away/outside", "", "a//b"):
        record["files"][path] = checksum
    (folder / RECORD).write_text(json.dumps(record))
    roots = {path.split("/")[0] for path in record["files"]}
    assert write_under(folder, FILES, roots).removed == []
    assert outside.exists()


def test_what_was_written_before_the_disk_was_full_is_known_to_the_next_export(folder, monkeypatch):
    write(folder, FILES)
    new = {path: content + b"#" for path, content in FILES.items()}
    real = Path.replace

    def full(path, to):
        if path.parent.name == "dashboards":
            raise OSError(28, "No space left on device", str(path))
        return real(path, to)

    monkeypatch.setattr(Path, "replace", full)
    with pytest.raises(ExportError, match="No space left on device; give a folder that can be written to"):
        write(folder, new)
    monkeypatch.undo()
    assert files_of(folder) == {**new, "dashboards/b.json": FILES["dashboards/b.json"]}
    newest = {path: content + b"#" for path, content in new.items()}
    assert write(folder, newest).written == list(newest)


@pytest.mark.parametrize("place", ["/proc/agentgauge", "/dev/null/monitoring"])
def test_a_folder_that_cannot_be_written_to_is_said_in_one_line(place, capsys):
    assert cli.main(["export", place]) == 1
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.startswith(f"agentgauge export: {place.removesuffix('/monitoring')}")
    assert printed.err.count("\n") == 1
    assert "give " in printed.err


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (["--format", "helm"], "agentgauge export: argument --format: invalid choice: 'helm'"),
        (["--forced"], "agentgauge export: unrecognized arguments: --forced"),
        (["--job-label", "x"], "agentgauge export: --job-label works with --format kubernetes: give both"),
        (["--format", "kubernetes", "--job-label", ""], "agentgauge export: --job-label '': Kubernetes takes no such label"),
        (["--keda", "x"], "agentgauge export: --keda works with --format kubernetes: give both"),
        (["--label", "a=b"], "agentgauge export: --label works with --format kubernetes: give both"),
        (["--label", "a"], "agentgauge export: argument --label: give KEY=VALUE"),
        (["--format", "kubernetes", "--keda-tasks", "2"], "agentgauge export: --keda-tasks works with --keda DEPLOYMENT: give"),
        (["--format", "kubernetes", "--keda", "X_"], "agentgauge export: --keda 'X_': give the name of a Deployment"),
        (["--format", "kubernetes", "--keda", "x", "--keda-tasks", "0"], "agentgauge export: --keda-tasks 0: give"),
        (
            ["--format", "kubernetes", "--keda-capacity", "a/b"],
            "agentgauge export: --keda-capacity works with --keda DEPLOYMENT",
        ),
        (["--format", "kubernetes", "--keda", "x", "--keda-capacity", "a"], "agentgauge export: --keda-capacity 'a': give"),
        (["--format", "kubernetes", "--keda", "x", "--keda-capacity", "/b"], "agentgauge export: --keda-capacity '/b': give"),
        (["--format", "kubernetes", "--keda", "x", "--keda-replicas", "0"], "agentgauge export: --keda-replicas 0: give"),
        (["--format", "kubernetes", "--keda", "x", "--prometheus", "p:9090"], "agentgauge export: --prometheus 'p:9090': give"),
        (["--format", "kubernetes", "--namespace", "A b"], "agentgauge export: --namespace 'A b': give lower-case letters"),
        (["--format", "kubernetes", "--label", "a b=c"], "agentgauge export: --label a b=c: Kubernetes takes no such label"),
        (["--format", "kubernetes", "--label", 'a=c"'], "agentgauge export: --label"),
        (["--runbook-url", "docs/x"], "agentgauge export: --runbook-url 'docs/x': give an address"),
        (["--runbook-url", "https://x/{name}"], "agentgauge export: --runbook-url"),
        (["--runbook-url", "https://x/ #"], "agentgauge export: --runbook-url"),
        (["--dashboard-url", "https://x/{alert}"], "agentgauge export: --dashboard-url"),
        (["--dashboard-url", "https://x/'\"\n"], "agentgauge export: --dashboard-url"),
        (["--dashboard-url", "https://x:y/"], "agentgauge export: --dashboard-url"),
        (["--dashboard-url", "https://x/?orgId=1"], "agentgauge export: --dashboard-url 'https://x/?orgId=1': give an address"),
        (["--runbook-url", "https://x/#page"], "agentgauge export: --runbook-url 'https://x/#page': give an address"),
        (["--runbook-url", "https://x/{alert}:"], "agentgauge export: --runbook-url 'https://x/{alert}:': give an address"),
        (["--format", "kubernetes", "--keda", "x", "--prometheus", "http://p/{alert}"], "agentgauge export: --prometheus"),
        (["--format", "kubernetes", "--keda", "x", "--prometheus", "http://p/?a"], "agentgauge export: --prometheus"),
    ],
)
def test_an_option_that_cannot_work_is_said_in_one_line_before_anything_is_written(words, complaint, tmp_path, capsys):
    try:
        status = cli.main(["export", str(tmp_path / "out"), *words])
    except SystemExit as exit_:
        status = exit_.code
    printed = capsys.readouterr()
    assert (status, printed.out) == (2, "")
    assert printed.err.startswith(complaint)
    assert printed.err.count("\n") == 1
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    "options", [["--runbook-url"], ["--dashboard-url"], ["--format", "kubernetes", "--keda", "x", "--prometheus"]]
)
@pytest.mark.parametrize(
    "address",
    [
        *("https://user:hidden@h/", "https://hidden@h:9/x", "http://user:hidden@h:bad/", "http://u:hidden@[::1", "user:hidden@h"),
        *("http://user:hidden/1@h/", "https://user:hidden@{alert}/"),
    ],
)
def test_an_address_with_a_password_is_refused_and_not_shown(options, address, tmp_path, capsys):
    assert cli.main(["export", str(tmp_path / "out"), *options, address]) == 2
    printed = capsys.readouterr()
    assert f"agentgauge export: {options[-1]}: " in printed.err
    assert "hidden" not in printed.out + printed.err
    assert not (tmp_path / "out").exists()


def test_plain_files_and_those_for_kubernetes_can_stand_in_one_folder(tmp_path, capsys):
    assert cli.main(["export", str(tmp_path)]) == 0
    plain = files_of(tmp_path)
    assert cli.main(["export", str(tmp_path), "--format", "kubernetes", "--keda", "swarm"]) == 0
    assert "removed" not in capsys.readouterr().out
    both = files_of(tmp_path)
    assert plain.items() < both.items()
    assert cli.main(["export", str(tmp_path)]) == 0
    assert "removed" not in capsys.readouterr().out
    assert files_of(tmp_path) == both


def test_what_other_options_make_no_more_is_told_to_be_removed_by_this_export(tmp_path, capsys):
    assert cli.main(["export", str(tmp_path), "--format", "kubernetes", "--keda", "swarm", "--monitor", "service"]) == 0
    (tmp_path / "kubernetes/service-monitor.json").write_text("mine")
    assert "kubectl delete" not in capsys.readouterr().out
    assert cli.main(["export", str(tmp_path), "--format", "kubernetes"]) == 0
    printed = capsys.readouterr().out
    assert "  removed, since this export does not make it: kubernetes/scaled-object.json\n" in printed
    assert (
        "  left, though this export does not make it, since someone has changed it: kubernetes/service-monitor.json\n" in printed
    )
    assert "stays in the cluster until kubectl delete takes it out" in printed
