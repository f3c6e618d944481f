"""A program under ``agentgauge run`` cannot tell the difference: all it sees and all it leaves is as with plain Python."""

from __future__ import annotations

import compileall
import os
import signal
import subprocess
import sys
import textwrap
import zipapp
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pathlib import Path

PYTHON = (sys.executable, "-X", "dev", "-W", "error")
RUN = (*PYTHON, "-m", "agentgauge", "run", "--port", "0")
ENVIRONMENT = {name: value for name, value in os.environ.items() if not name.startswith("AGENTGAUGE_")}

FACTS = """
import os, signal, sys

def print_facts():
    names = vars(sys.modules["__main__"])
    print("argv", sys.argv)
    print("path", sys.path[0])
    print("names", sorted(names), names["__name__"], names.get("__file__"), names["__package__"], names["__builtins__"])
    print("spec", getattr(names["__spec__"], "name", None), getattr(names["__spec__"], "origin", None), type(names["__loader__"]))
    print("signals", [str(signal.getsignal(number)) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGPIPE)])
    print("folder", os.getcwd(), sys.flags, sys.excepthook is sys.__excepthook__)
"""
FOREWORD = "agentgauge: metrics: http://127.0.0.1:"


def outcome(*command: str | Path, folder: Path, **environment: str):
    """What a command prints, complains about, and ends with."""
    ended = subprocess.run(
        command,
        check=False,
        cwd=folder,
        env={**ENVIRONMENT, **environment},
        input="a line\nanother\n",
        capture_output=True,
        text=True,
        timeout=60,
    )
    return ended.stdout, ended.stderr, ended.returncode


def outcome_of_run(*words: str | Path, folder: Path, **environment: str):
    """The same of a program that agentgauge runs, without the line that says where the metrics are."""
    printed, complaints, status = outcome(*RUN, *words, folder=folder, **environment)
    assert complaints.startswith(FOREWORD)
    return printed, complaints.partition("\n")[2], status


def outcomes(*words: str | Path, folder: Path, **environment: str):
    """What agentgauge makes of a program, and plain Python, both at the same time."""
    with ThreadPoolExecutor(2) as both:
        run = both.submit(outcome_of_run, *words, folder=folder, **environment)
        plain = both.submit(outcome, *PYTHON, *words, folder=folder, **environment)
        return run.result(), plain.result()


def write(folder: Path, name: str, text: str) -> Path:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(textwrap.dedent(text))
    return path


# --- how a program is found and what it sees ----------------------------------------------------------------------------


@pytest.fixture
def programs(tmp_path):
    """A folder with a program of each kind; all of them print what they see."""
    for folder in ("package", "elsewhere", "folder", "archived"):
        write(tmp_path, f"{folder}/facts.py", FACTS)
    write(tmp_path, "facts.py", FACTS)
    write(tmp_path, "script.py", "from facts import print_facts\nprint_facts()\n")
    write(tmp_path, "elsewhere/real.py", "from facts import print_facts\nprint_facts()\n")
    (tmp_path / "link.py").symlink_to("elsewhere/real.py")
    write(tmp_path, "package/__init__.py", "")
    write(tmp_path, "package/__main__.py", "from .facts import print_facts\nprint_facts()\n")
    for folder in ("folder", "archived"):
        write(tmp_path, f"{folder}/__main__.py", "from facts import print_facts\nprint_facts()\n")
    zipapp.create_archive(tmp_path / "archived", tmp_path / "archive.pyz")
    compileall.compile_file(tmp_path / "elsewhere" / "real.py", quiet=1, legacy=True)
    return tmp_path


WORDS = {
    "script": ["script.py", "--port", "3", "-m", "x", "--", "-v"],
    "path": ["./elsewhere/../script.py"],
    "link": ["link.py", "a b"],
    "module": ["-m", "script", "--help", "-m"],
    "package": ["-m", "package", "--port"],
    "folder": ["folder", "--version"],
    "archive": ["archive.pyz", ""],
    "compiled": ["elsewhere/real.pyc"],
}


@pytest.mark.parametrize("words", WORDS.values(), ids=WORDS)
def test_a_program_sees_of_itself_what_it_sees_under_plain_python(words, programs):
    run, plain = outcomes(*words, folder=programs)
    assert run == plain
    assert "argv" in run[0]


def test_with_a_safe_path_nothing_is_put_before_the_others(programs):
    script = write(programs, "safe.py", "import sys\nprint(sys.path, sys.argv)\n")
    for program in (script, "folder"):
        run, plain = outcomes(program, folder=programs, PYTHONSAFEPATH="1")
        assert run == plain


def test_a_module_that_does_not_exist_is_reported_as_python_does(tmp_path):
    run, plain = outcomes("-m", "no_such_module", folder=tmp_path)
    assert run == plain
    assert run[2] == 1


def test_a_console_script_is_found_on_the_path_and_runs_as_from_the_shell(programs):
    script = write(programs, "bin/facts-of-mine", f"#!{sys.executable}\nfrom facts import print_facts\nprint_facts()\n")
    write(programs, "bin/facts.py", FACTS)
    script.chmod(0o755)
    path = f"{script.parent}{os.pathsep}{os.environ['PATH']}"
    run = outcome_of_run("facts-of-mine", "-x", folder=programs, PATH=path)
    assert run == outcome(*PYTHON, script, "-x", folder=programs)
    assert run[2] == 0


def test_a_console_script_that_only_its_distribution_declares_runs_too(tmp_path):
    write(tmp_path, "made_up.py", "import sys\ndef main():\n    print(sys.argv, __name__)\n    return 5\n")
    write(tmp_path, "made_up-1.0.dist-info/METADATA", "Metadata-Version: 2.1\nName: made-up\nVersion: 1.0\n")
    write(tmp_path, "made_up-1.0.dist-info/entry_points.txt", "[console_scripts]\nmade-up = made_up:main\n")
    run = outcome_of_run("made-up", "-x", folder=tmp_path, PYTHONPATH=str(tmp_path))
    assert run == ("['made-up', '-x'] made_up\n", "", 5)


def test_the_program_reads_the_input_and_owns_the_output(tmp_path):
    script = write(tmp_path, "program.py", "import sys\nprint(input(), sys.stdin.read())\n")
    assert outcome_of_run(script, folder=tmp_path) == ("a line another\n\n", "", 0)


def test_a_program_may_come_through_a_pipe(tmp_path):
    read, write_end = os.pipe()
    os.write(write_end, b"print(__file__)\n")
    os.close(write_end)
    ended = subprocess.run(
        [*RUN, f"/dev/fd/{read}"],
        check=False,
        pass_fds=[read],
        cwd=tmp_path,
        env=ENVIRONMENT,
        capture_output=True,
        text=True,
        timeout=60,
    )
    os.close(read)
    assert (ended.stdout, ended.returncode) == (f"/dev/fd/{read}\n", 0)


# --- how a program ends -------------------------------------------------------------------------------------------------

ENDINGS = {
    "end": "print('done')",
    "exit": "sys.exit(3)",
    "exit without a status": "sys.exit()",
    "exit with words": "sys.exit('enough')",
    "_exit": "os._exit(4)",
    "error": "fail(lambda: 1 / 0)",
    "error from an error": """
        try:
            fail(lambda: {}["x"])
        except KeyError as error:
            raise LookupError("no x") from error
    """,
    "group": "raise ExceptionGroup('several', [ValueError('one'), TypeError('other')])",
    "error of a base class": "raise type('Halt', (BaseException,), {})('now')",
    "interrupt": "fail(signal.raise_signal, signal.SIGINT)",
    "exit at an interrupt": """
        try:
            signal.raise_signal(signal.SIGINT)
        except KeyboardInterrupt:
            sys.exit(7)
    """,
    "termination": "signal.raise_signal(signal.SIGTERM)",
    "kill": "signal.raise_signal(signal.SIGKILL)",
    "does not compile": "def broken(:",
    "hook": """
        def show(kind, error, trace):
            import traceback
            print("hook", kind, error, [frame.name for frame in traceback.extract_tb(trace)], sys.excepthook is show)
            print([frame.name for frame in traceback.extract_tb(sys.last_traceback)])
        sys.excepthook = show
        fail(lambda: 1 / 0)
    """,
    "threads and exit handlers": """
        import atexit, threading
        atexit.register(lambda: print("at exit", sys.modules["__main__"].fail.__name__))
        threading.Thread(target=lambda: (threading.main_thread().join(), print("thread"))).start()
        raise SystemExit(9)
    """,
    "error in an async program": """
        import asyncio
        async def main():
            asyncio.get_running_loop().slow_callback_duration = 60  # on a busy machine any step may take long
            await asyncio.sleep(0)
            raise OSError(5, "gone")
        asyncio.run(main())
    """,
}


@pytest.mark.parametrize("ending", ENDINGS.values(), ids=ENDINGS)
def test_a_program_ends_as_under_plain_python(ending, tmp_path):
    script = write(tmp_path, "program.py", "import os, signal, sys\ndef fail(call, *given):\n    call(*given)\n")
    script.write_text(script.read_text() + textwrap.dedent(ending))
    run, plain = outcomes(script, folder=tmp_path)
    assert run == plain


def test_an_error_in_a_module_is_shown_as_python_shows_it(tmp_path):
    write(tmp_path, "broken.py", "def fail():\n    raise ValueError('on purpose')\nfail()\n")
    run, plain = outcomes("-m", "broken", folder=tmp_path)
    assert run == plain
    assert "agentgauge" not in run[1]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_signal_from_outside_ends_a_program_as_it_would_have(number, tmp_path):
    # One line, shown without its columns: the signal may come before print has returned, and the traceback is the same.
    script = write(tmp_path, "program.py", "import signal\nprint('ready', flush=True); signal.pause()\n")
    environment = ENVIRONMENT | {"PYTHONNODEBUGRANGES": "1"}
    ends = []
    for command in (PYTHON, RUN):
        with subprocess.Popen(
            [*command, script], env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        ) as program:
            assert program.stdout.readline() == "ready\n"
            program.send_signal(number)
            _, complaints = program.communicate(timeout=60)
        ends.append((program.returncode, [line for line in complaints.splitlines() if not line.startswith(FOREWORD)]))
    assert ends[0] == ends[1]
    assert ends[1][0] == -number


# --- its children -------------------------------------------------------------------------------------------------------

CHILDREN = """
import multiprocessing, os, pickle, sys
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass

print("imported as", __name__, "url" in globals())

@dataclass
class Parcel:
    weight: int

def double(parcel):
    return Parcel(parcel.weight * 2), __name__, sys.argv

if __name__ == "__main__":
    print(pickle.loads(pickle.dumps(Parcel(1))), Parcel.__module__)
    for method in ("spawn", "fork", "forkserver"):
        with ProcessPoolExecutor(1, multiprocessing.get_context(method)) as pool:
            print(method, pool.submit(double, Parcel(21)).result(), flush=True)
    sys.exit(6)
"""


@pytest.mark.parametrize("words", [["children.py", "-x"], ["-m", "children", "-x"]], ids=["script", "module"])
def test_children_of_multiprocessing_find_the_main_module_of_the_program(words, tmp_path):
    write(tmp_path, "children.py", CHILDREN)
    # forking beside the threads of the pool's own machinery is what the program asks for, here and there
    run, plain = outcomes(*words, folder=tmp_path, PYTHONWARNINGS="ignore::DeprecationWarning")
    assert run == plain
    assert run[0].count("Parcel(weight=42)") == 3
    assert run[1:] == ("", 6)
