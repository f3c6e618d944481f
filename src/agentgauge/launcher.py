"""``agentgauge run``: a program runs as ``python PROGRAM`` would run it, with agentgauge started before its first line.

The program runs in this very process, in a fresh ``__main__``. The other way, to replace the process by ``python PROGRAM`` with
a ``sitecustomize`` of ours on ``PYTHONPATH``, hides the host's own ``sitecustomize``, does nothing under ``-I`` and ``-E``, loses
what started us (a debugger, ``coverage run``), and the children inherit it. Here nothing is inherited: a child that is spawned
imports the program's ``__main__`` from its ``__file__`` or ``__spec__`` as ever, and is not measured unless it calls ``start()``;
one that is forked records on, as the README says of workers. What Python does by itself is left to it: signal handlers are not
touched, ``SystemExit`` and ``KeyboardInterrupt`` pass through to the interpreter, and so does an error, whose traceback is shown
by the program's own ``sys.excepthook`` without the frames above the program.
"""

from __future__ import annotations

import builtins
import io
import os
import pkgutil
import runpy
import shutil
import socket
import sys
from dataclasses import dataclass
from errno import EADDRINUSE
from importlib.machinery import SourceFileLoader, SourcelessFileLoader
from importlib.metadata import entry_points
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

from agentgauge.config import Config
from agentgauge.errors import AgentgaugeError, ConfigurationError, report_internal_error
from agentgauge.fork_gate import load

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from types import CodeType, TracebackType

__all__ = ["Program", "ProgramNotFoundError", "find_module", "find_program", "run", "start_for_program"]

_SHEBANG_BYTES = 512


class ProgramNotFoundError(AgentgaugeError):
    """There is no such program, or it is none that Python can run; the message says so."""


@dataclass(frozen=True, slots=True)
class Program:
    """What is to be run, and what ``sys`` says meanwhile.

    Attributes:
        name: What becomes ``sys.argv[0]``.
        folder: What becomes ``sys.path[0]``.
        file: The script, where it is one.
        module: The module, where it is one: ``__main__`` for a folder or an archive that holds one.
        source: The lines that call the entry point, where it is one.
    """

    name: str
    folder: str
    file: str | None = None
    module: str | None = None
    source: str = ""


def find_module(name: str) -> Program:
    """Describe the module that ``python -m`` would run by that name; whether there is one shows when it runs, as there."""
    return Program("-m", _current_folder(), module=name)


def find_program(name: str) -> Program:
    """Find a script, a folder or archive with a ``__main__``, or a console script.

    Args:
        name: A path, or the name of a console script: one beside this interpreter, on ``PATH``, or declared as an entry point.

    Raises:
        ProgramNotFoundError: There is none, it cannot be read, or it is not Python.
    """
    path = os.path.join(_current_folder(), name)  # noqa: PTH118 - as Python makes it, dots and links included
    # A folder may have the name of a console script by chance; one that is given as a path is taken at its word.
    if Path(path).exists() and (os.sep in name or not Path(path).is_dir() or Path(path, "__main__.py").is_file()):
        is_container = pkgutil.get_importer(path) is not None
        return Program(name, path, module="__main__") if is_container else _script(name, path)
    if os.sep not in name:
        beside = str(Path(sys.executable).parent)  # of this environment, activated or not
        found = shutil.which(name, path=beside) or shutil.which(name)
        if found is not None and _is_python(found):
            return _script(found, str(Path(found).absolute()))
        for declared in entry_points(group="console_scripts", name=name):
            imported = declared.attr.partition(".")[0]
            source = f"import sys\nfrom {declared.module} import {imported}\nsys.exit({declared.attr}())\n"
            return Program(name, beside, source=source)
        if found is not None:
            raise ProgramNotFoundError(f"{found} is no Python program: give a script, -m MODULE, or a console script in Python")
    raise ProgramNotFoundError(f"there is no program {name!r}: give a script, -m MODULE, or the name of a console script")


def run(program: Program, arguments: Sequence[str]) -> None:
    """Run the program to its end, in this process.

    Args:
        program: What ``find_program`` or ``find_module`` returned.
        arguments: What the program finds in ``sys.argv[1:]``.

    Raises:
        BaseException: Whatever leaves the program, ``SystemExit`` included; it is meant for the interpreter.
    """
    sys.argv[:] = [program.name, *arguments]
    if not sys.flags.safe_path:  # what stands there is the folder of the command's own script
        sys.path[:1] = [program.folder]
    elif program.module == "__main__":
        sys.path.insert(0, program.folder)
    ours = sys.modules["__main__"]
    sys.modules["__main__"] = main = _fresh_main(ours)
    try:
        # Called from here, so that what is above the program in a traceback ends with this frame.
        if program.module is not None:
            runpy._run_module_as_main(program.module, program.module != "__main__")  # type: ignore[attr-defined]  # noqa: SLF001 - what `python -m` calls itself
        else:
            code = _read(program, main)
            exec(code, vars(main))  # noqa: S102 - to run it is the purpose
    except SystemExit:
        raise
    except BaseException:  # the traceback is to look as Python shows it, whatever ended the program
        _hide_our_frames()
        raise


def start_for_program(**settings: Any) -> None:
    """Start agentgauge for a program that knows nothing of it: short of a wrong setting, nothing keeps it from running.

    Where the port is taken the program goes on without a server and is told so, unless ``port`` is among the settings. What
    the program itself asks of ``agentgauge.start()`` later is done then, but for these settings, which stay.

    Raises:
        ConfigurationError: A setting cannot work.
    """
    try:
        monitor = _start(settings)
        monitor.preset = settings
        if monitor.config.port == 0 and monitor.url:
            _say(f"metrics: {monitor.url}")
    except ConfigurationError:
        raise
    except Exception as fault:  # noqa: BLE001 - the program has done nothing wrong
        report_internal_error("run", fault)


def _start(settings: Mapping[str, Any]) -> Any:
    start = load("agentgauge.monitor").start
    try:
        return start(**settings)
    except ConfigurationError as error:
        if settings.get("port") is not None or not _is_port_taken(settings):
            raise
        monitor = start(**{**settings, "is_server_enabled": False})
        _say(f"{error}; the program goes on without a server")
        return monitor


def _is_port_taken(settings: Mapping[str, Any]) -> bool:
    config = Config.load(**settings)
    if not config.is_server_enabled:
        return False
    try:
        family, _, _, _, address = socket.getaddrinfo(config.host, config.port, type=socket.SOCK_STREAM)[0]
        socket.create_server(address, family=family).close()
    except OSError as error:
        return error.errno == EADDRINUSE
    return False


def _say(message: str) -> None:
    if sys.stderr is not None:  # a program without a terminal may have none
        print(f"agentgauge: {message}", file=sys.stderr, flush=True)  # noqa: T201 - logging is the program's to set up


def _current_folder() -> str:
    try:
        return os.getcwd()  # noqa: PTH109 - a string is what sys.path wants
    except OSError:  # it was removed
        return ""


def _script(name: str, path: str) -> Program:
    if not os.access(path, os.R_OK):
        raise ProgramNotFoundError(f"{path} cannot be read: its permissions do not allow it")
    return Program(name, str(Path(path).resolve().parent), file=path)  # Python follows links here


def _is_python(path: str) -> bool:
    """Tell whether a file is a script for Python; a long path to its interpreter stands in the second line (``#!/bin/sh``)."""
    try:
        with io.open_code(path) as file:
            lines = file.read(_SHEBANG_BYTES).split(b"\n")
    except OSError:
        return False
    return lines[0].startswith(b"#!") and any(b"python" in line for line in lines[: 2 if lines[0].endswith(b"sh") else 1])


def _fresh_main(ours: ModuleType) -> ModuleType:
    """Make the ``__main__`` that the interpreter starts with."""
    main = ModuleType("__main__")
    if "__annotations__" in vars(ours):  # until Python 3.13
        vars(main)["__annotations__"] = {}
    vars(main)["__builtins__"] = builtins
    return main


def _read(program: Program, main: ModuleType) -> CodeType:
    """Read the program's code, and say in its ``__main__`` where it is from."""
    if program.file is None:
        return compile(program.source, f"<{program.name}>", "exec", dont_inherit=True)
    vars(main)["__file__"] = program.file
    vars(main)["__cached__"] = None
    with io.open_code(program.file) as file:
        content = file.read()  # once: it may be a pipe
    code: CodeType | None = pkgutil.read_code(io.BytesIO(content))
    if code is not None:
        main.__loader__ = SourcelessFileLoader("__main__", program.file)
        return code
    main.__loader__ = SourceFileLoader("__main__", program.file)
    return compile(content, program.file, "exec", dont_inherit=True)


def _hide_our_frames() -> None:
    """Let the hook that shows the error, the interpreter's or the program's own, begin with the program's frames."""
    shows = sys.excepthook

    def show(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
        sys.excepthook = shows
        sys.last_traceback = error.__traceback__ = trace = _below_ours(trace)
        shows(kind, error, trace)

    sys.excepthook = show


def _below_ours(trace: TracebackType | None) -> TracebackType | None:
    rest = trace
    while rest is not None:
        above, rest = rest.tb_frame.f_code, rest.tb_next
        if above is run.__code__:
            while rest is not None and rest.tb_frame.f_code is _read.__code__:  # it does not compile
                rest = rest.tb_next
            return rest
    return trace
