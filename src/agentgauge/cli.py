"""The command ``agentgauge``: parse, call, print."""

from __future__ import annotations

import argparse
import difflib
import re
import sys
from typing import TYPE_CHECKING, Any, NoReturn

from agentgauge.errors import ConfigurationError
from agentgauge.fork_gate import load
from agentgauge.launcher import ProgramNotFoundError, find_module, find_program, run, start_for_program
from agentgauge.version import __version__

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

__all__ = ["main"]

_WRONG_USAGE = 2
_RUN_EPILOG = """\
examples:
  agentgauge run my_agents.py --verbose
  agentgauge run --port 9500 -m my_package
  agentgauge run --instrumentors dspy uvicorn my_app:app

Options of agentgauge stand before PROGRAM; all that follows is the program's own. AGENTGAUGE_* variables hold too; an option
wins over them, and over what the program asks of agentgauge.start(). Where the port is taken the program runs without a server,
after a warning, unless --port names it. Port 0 takes any free one and says on stderr which.
Forked children go on recording, and serve nothing unless they call agentgauge.start(); other children are not measured.
"""
_DOCTOR_EPILOG = """\
examples:
  agentgauge doctor
  agentgauge doctor --url http://127.0.0.1:9464/metrics --prometheus http://127.0.0.1:9090
  agentgauge doctor --production --prometheus http://127.0.0.1:9090 --alertmanager http://127.0.0.1:9093
  agentgauge doctor --production --strict --json

Run it with the Python of the program and its AGENTGAUGE_* variables, after the program has done some work. It changes nothing.
Exit status: 0 where nothing failed, 1 where a check failed (with --strict also where one warns), 2 for a wrong option.
"""
_EXPORT_EPILOG = """\
examples:
  agentgauge export monitoring
  agentgauge export monitoring --runbook-url https://docs.example.com/runbooks --dashboard-url https://grafana.example.com
  agentgauge export monitoring --format kubernetes --namespace agents --label release=monitoring
  agentgauge export monitoring --format kubernetes --keda research-agents

A file in DIR is replaced only where an export wrote it and nobody has changed it since; else nothing is written, without --force.
Exit status: 0 where all is written, 1 where something stands in the way, 2 for a wrong option.
"""
_ANSWERS = {
    "report": "tell what agents did in a window: objectives, anomalies, trends, forecast, advice",
    "trends": "tell what rises, falls or stepped",
    "anomalies": "tell what was out of the ordinary",
    "forecast": "tell what comes next, and how many replicas that needs",
    "explain": "tell what moved in a window or with an alert, and why",
    "recommend": "tell what could be done better, with what shows it",
    "slo": "tell which objectives were kept, what is left of the error budgets, and the incidents",
    "compare": "tell what differs between two windows or two versions",
}
_TIMES = frozenset({"--since", "--until", "--at", "--window", "--before", "--after", "--step", "--horizon"})
_TOP = "show agents at work in the terminal"


class _Parser(argparse.ArgumentParser):
    """A parser that says what is wrong in one line."""

    def error(self, message: str) -> NoReturn:
        """Leave with status 2."""
        wrong = re.search(r"invalid choice: '(.*?)' \(choose from (.*)\)", message)
        if wrong:
            near = difflib.get_close_matches(wrong[1], re.findall(r"[\w-]+", wrong[2]), 1)
            message += f": did you mean {' or '.join(near)}?" if near else ""
        self.exit(_WRONG_USAGE, f"{self.prog}: {message} (see {self.prog} --help)\n")


def main(argv: Sequence[str] | None = None) -> int:
    """Do what the command line says.

    Args:
        argv: The command line without its first word; that of the process unless given.

    Returns:
        The exit status: 2 where the command line or a setting cannot work.

    Raises:
        BaseException: Whatever leaves a program that is run, ``SystemExit`` included.
    """
    words = list(sys.argv[1:] if argv is None else argv)
    if words[:1] == ["probe"]:  # which has an exact second, and reads its own few options
        return int(load("agentgauge.probe").main(words[1:]))
    if words[:1] and words[0] in _ANSWERS:
        words = _with_signs(words)
    parser, commands = _parsers(words)
    options, unknown = parser.parse_known_args(words)
    if unknown:  # whose help says more is that of the command which they follow
        at = commands[options.command] if options.command == words[0] else parser
        at.error(f"unrecognized arguments: {' '.join(unknown)}{_meant(at, unknown[0]) if options.command in _ANSWERS else ''}")
    if options.command is None:
        parser.print_help(sys.stderr)
        return _WRONG_USAGE
    if options.command == "run":
        return _run(options)
    if options.command in _ANSWERS:
        return int(load("agentgauge.analytics.commands").main(options))
    if options.command == "top":
        return int(load("agentgauge.analytics.top").main(options))
    return int(load(f"agentgauge.{options.command}").main(options))


def _run(options: argparse.Namespace) -> int:
    is_module = options.module is not None
    words = [*(options.module or ()), *options.program]  # argparse ends a module's arguments at "--", which is the module's too
    if words[:1] == ["--"] and not is_module:
        words = words[1:]
    if not words:
        return _refuse("-m needs the name of a module" if is_module else "give a program to run")
    try:
        program = find_module(words[0]) if is_module else find_program(words[0])
        start_for_program(**_settings(options))
    except (ProgramNotFoundError, ConfigurationError) as error:
        return _refuse(str(error))
    run(program, words[1:])
    return 0


def _with_signs(words: list[str]) -> list[str]:
    """Join a time or duration that begins with a sign to its option, so that the command, not argparse, refuses it."""
    joined: list[str] = []
    for word in words:
        if joined and joined[-1] in _TIMES and re.match(r"-\d", word):
            joined[-1] += f"={word}"
        else:
            joined.append(word)
    return joined


def _refuse(message: str) -> int:
    print(f"agentgauge run: {message}", file=sys.stderr)  # noqa: T201 - a command prints
    return _WRONG_USAGE


def _meant(parser: argparse.ArgumentParser, word: str) -> str:
    """Say which option somebody may have meant."""
    known = re.findall(r"--[\w-]+", parser.format_help())
    near = difflib.get_close_matches(word.partition("=")[0], known, 1)
    return f": did you mean {near[0]}?" if near else ""


def _settings(options: argparse.Namespace) -> dict[str, Any]:
    """The settings that were given, under their names in ``agentgauge.start()``."""
    given = {name: getattr(options, name) for name in ("port", "host", "service_name", "instrumentors", "collectors")}
    if options.no_server:
        given["is_server_enabled"] = False
    return {name: value for name, value in given.items() if value is not None}


def _parsers(words: Sequence[str]) -> tuple[argparse.ArgumentParser, Mapping[str, argparse.ArgumentParser]]:
    """Make the parser of the whole command line, and those of the commands by their names."""
    parser = _Parser(prog="agentgauge", description="Prometheus and OpenTelemetry instrumentation for AI agents.")
    parser.add_argument("--version", action="version", version=f"agentgauge {__version__}")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", title="commands")
    _add_run(
        commands.add_parser(
            "run",
            help="run a program with its agents measured",
            description="Run a Python program with its agents measured: no line of it needs to know of agentgauge.",
            usage="agentgauge run [OPTIONS] (PROGRAM | -m MODULE) [ARGS ...]",
            epilog=_RUN_EPILOG,
            formatter_class=argparse.RawDescriptionHelpFormatter,
            allow_abbrev=False,
        )
    )
    summary = "tell what is installed, what is instrumented, and what stands in the way"
    doctor = commands.add_parser(
        "doctor",
        help=summary,
        description=f"{summary.capitalize()}.",
        epilog=_DOCTOR_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    export = commands.add_parser(
        "export",
        help="write the dashboards, rules and runbooks that are shipped",
        description="Write the dashboards, rules and runbooks that agentgauge ships into a folder, or as objects of Kubernetes.",
        epilog=_EXPORT_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    for name, answer in _ANSWERS.items():
        command = commands.add_parser(name, help=answer, description=f"{answer.capitalize()}.", allow_abbrev=False)
        if words[:1] == [name]:
            load("agentgauge.analytics.commands").add_arguments(command, name)
    top = commands.add_parser("top", help=_TOP, description=f"{_TOP.capitalize()}.", allow_abbrev=False)
    if words[:1] == ["top"]:
        load("agentgauge.analytics.top").add_arguments(top)
    commands.add_parser("probe", help="tell by its heartbeat file whether a program lives")  # for this list alone: see main()
    for name, command in (("doctor", doctor), ("export", export)):
        if words[:1] == [name]:  # loaded for those who want it
            load(f"agentgauge.{name}").add_arguments(command)
    return parser, commands.choices


def _add_run(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--port", type=int, help="where to serve /metrics (default: AGENTGAUGE_PORT or 9464)")
    parser.add_argument("--host", metavar="ADDRESS", help="the address to listen on (default: AGENTGAUGE_HOST or 127.0.0.1)")
    parser.add_argument("--no-server", action="store_true", help="serve nothing; the series are in prometheus_client's registry")
    parser.add_argument("--service-name", metavar="NAME", help="the service_name of target_info")
    parser.add_argument(
        "--instrumentors", type=_names, metavar="NAMES", help="frameworks that must be instrumented, separated by commas, or none"
    )
    parser.add_argument("--collectors", type=_names, metavar="NAMES", help="collectors that run, separated by commas, or none")
    # REMAINDER: what follows the module, or the program, is the program's own, whatever it looks like.
    parser.add_argument("-m", dest="module", nargs=argparse.REMAINDER, metavar="MODULE", help="run a module, as python -m does")
    parser.add_argument("program", nargs=argparse.REMAINDER, metavar="PROGRAM", help="a script, a folder or a console script")


def _names(text: str) -> tuple[str, ...]:
    names = tuple(name.strip() for name in text.split(",") if name.strip())
    if not names:
        raise argparse.ArgumentTypeError("give names separated by commas, or none")
    return () if names == ("none",) else names
