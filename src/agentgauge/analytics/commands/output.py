"""Where a report goes: a terminal, a pipe, a file."""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from agentgauge.analytics.commands.ending import is_terminal, why
from agentgauge.analytics.report.html_page import as_html
from agentgauge.analytics.report.json_text import as_json
from agentgauge.analytics.report.markdown import as_markdown
from agentgauge.analytics.report.terminal import show
from agentgauge.analytics.report.text import as_text
from agentgauge.errors import ConfigurationError
from agentgauge.fork_gate import load

if TYPE_CHECKING:
    from argparse import Namespace

    from agentgauge.analytics.report.document import Document

__all__ = ["FORMATS", "check_output", "chosen_format", "put", "rich_console", "write"]

FORMATS = ("text", "json", "markdown", "html")
_BY_SUFFIX = {".json": "json", ".md": "markdown", ".markdown": "markdown", ".html": "html", ".htm": "html", ".txt": "text"}
_WIDTH = 120


def chosen_format(options: Namespace) -> str:
    """Return the format that was asked for: by ``--format`` or ``--json``, or by the name of the output's file.

    Raises:
        ConfigurationError: Two of them contradict each other, the name tells none, or a page would go to a terminal.
    """
    if options.json and options.format not in {None, "json"}:
        raise ConfigurationError(f"--json and --format {options.format} contradict each other: give one of them")
    given = "json" if options.json else options.format
    named = _BY_SUFFIX.get(Path(options.output).suffix.lower()) if options.output else "text"
    if given and options.output and named not in {given, None}:
        option = "--json" if options.json else f"--format {given}"
        raise ConfigurationError(
            f"--output {options.output!r} is the name of {named}, and {option} contradicts it: name it *{_suffix_of(given)}, or "
            f"leave {option} out"
        )
    chosen = given or named or ("text" if _is_no_file(Path(options.output)) else None)
    if chosen is None:
        endings = ", ".join(_BY_SUFFIX)
        raise ConfigurationError(
            f"--output {options.output!r}: its ending tells no format: give it one of {endings}, or say --format "
            f"{' or '.join(FORMATS)}"
        )
    if chosen == "html" and not options.output and is_terminal(sys.stdout):
        raise ConfigurationError("--format html is no text for a terminal: give --output report.html")
    return str(chosen)


def _suffix_of(chosen: str) -> str:
    return next(suffix for suffix, name in _BY_SUFFIX.items() if name == chosen)


def _is_no_file(path: Path) -> bool:
    """Tell whether it is there and is a pipe or a device, such as ``/dev/stdout``."""
    return path.exists() and not path.is_file()


def check_output(options: Namespace) -> None:
    """Refuse a file that cannot be written, before the work is done.

    Raises:
        ConfigurationError: It cannot be written, or is the source itself.
    """
    if options.output is None:
        if sys.stdout is None:
            raise ConfigurationError("there is no standard output: give it one, or --output FILE")
        return
    path = Path(options.output)
    if not options.output or path.is_dir():
        raise ConfigurationError(f"--output {options.output!r} is a folder: name a file in it")
    if not path.parent.is_dir():
        raise ConfigurationError(f"--output {options.output!r}: there is no folder {str(path.parent)!r}")
    closed = next((one for one in (path, path.parent) if one.exists() and not os.access(one, os.W_OK)), None)
    if closed is not None:
        raise ConfigurationError(f"--output {options.output!r} cannot be written: no permission to write {str(closed)!r}")
    if options.source and path.exists() and Path(options.source).exists() and path.samefile(options.source):
        raise ConfigurationError(f"--output {options.output!r} is the source: name another file")


def rich_console(stream: Any) -> Any | None:
    """Return a console of rich for a terminal; None for anything else, or where rich is not installed."""
    if not is_terminal(stream) or os.environ.get("TERM") == "dumb":
        return None
    try:
        return load("rich.console").Console(file=stream, soft_wrap=False)
    except ImportError:
        return None


def write(document: Document, options: Namespace, *, exit_code: int, now: float) -> None:
    """Write a report in the format that was asked for.

    Raises:
        ConfigurationError: The file cannot be written, or a library is missing.
    """
    chosen = chosen_format(options)
    if options.output:
        _replace(Path(options.output), _as_text(document, chosen, exit_code=exit_code, now=now))
        if sys.stderr is not None:
            sys.stderr.write(f"wrote {options.output}\n")
        return
    put(document, chosen, exit_code=exit_code, now=now)


def put(document: Document, chosen: str, *, exit_code: int, now: float) -> None:
    """Write a report to standard output, as its terminal or pipe can take it.

    Raises:
        ConfigurationError: There is no standard output.
    """
    if sys.stdout is None:
        raise ConfigurationError("there is no standard output: give it one")
    console = rich_console(sys.stdout) if chosen == "text" else None
    if console is not None:
        show(document, console)
    else:
        text = _as_text(document, chosen, exit_code=exit_code, now=now, stream=sys.stdout)
        encoding = getattr(sys.stdout, "encoding", None) or "utf-8"
        sys.stdout.write(text.encode(encoding, "replace").decode(encoding))
    sys.stdout.flush()


def _as_text(document: Document, chosen: str, *, exit_code: int, now: float, stream: Any = None) -> str:
    if chosen == "json":
        return as_json(document, exit_code=exit_code) + "\n"
    if chosen == "markdown":
        return as_markdown(document)
    if chosen == "html":
        return as_html(document, generated_at=now)
    encoding = (getattr(stream, "encoding", None) or "utf-8").lower().replace("-", "")
    width = shutil.get_terminal_size((_WIDTH, 0)).columns if is_terminal(stream) else _WIDTH
    return as_text(document, width=width, is_ascii=not encoding.startswith("utf")) + "\n"


def _replace(path: Path, text: str) -> None:
    """Write a file whole or not at all."""
    try:
        if path.exists() and not path.is_file():  # a pipe, /dev/stdout
            path.write_text(text, encoding="utf-8")
            return
        mode = path.stat().st_mode & 0o777 if path.exists() else 0o666 & ~_umask()
        number, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    except OSError as error:
        raise ConfigurationError(f"--output {str(path)!r} cannot be written: {why(error)}") from None
    try:
        with os.fdopen(number, "w", encoding="utf-8") as file:
            file.write(text)
        Path(temporary).chmod(mode)
        Path(temporary).replace(path.resolve())
    except OSError as error:
        raise ConfigurationError(f"--output {str(path)!r} cannot be written: {why(error)}") from None
    finally:
        with suppress(FileNotFoundError):
            Path(temporary).unlink()


def _umask() -> int:
    mask = os.umask(0o077)
    os.umask(mask)
    return mask
