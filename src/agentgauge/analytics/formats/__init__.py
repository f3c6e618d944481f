"""Files of what was recorded: JSON, SQLite and signed pickles, written whole and read with bounds."""

from __future__ import annotations

import gzip
import io
import re
import stat
import zlib
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from agentgauge.analytics.formats.json_text import from_json, to_json
from agentgauge.analytics.formats.saved import Reading, Saved, as_document
from agentgauge.analytics.formats.signed_pickle import PICKLE_MAGIC, from_pickle, require_key, to_pickle
from agentgauge.analytics.formats.sqlite_file import SQLITE_MAGIC, from_sqlite, refuse_others, to_sqlite
from agentgauge.errors import ConfigurationError, HistoryError
from agentgauge.files import read_bounded, write_whole

if TYPE_CHECKING:
    import os

__all__ = ["MOST_BYTES", "FormatType", "Saved", "load_file", "save_file"]

FormatType = Literal["auto", "json", "sqlite", "pickle"]

MOST_BYTES = 1 << 28
"""A file that is longer, or becomes longer when it is decompressed, is not read: 256 MiB are some seven million points."""

_FORMATS = ("auto", "json", "sqlite", "pickle")
_BY_ENDING = {".db": "sqlite", ".sqlite": "sqlite", ".sqlite3": "sqlite", ".pickle": "pickle", ".pkl": "pickle"}
_FOREIGN = re.compile(
    r"\.(csv|tsv|xml|ya?ml|toml|parquet|feather|arrow|avro|npy|npz|h5|hdf5|xlsx?|ods|docx?|html?|md|pdf|png|gif|jpe?g|webp|svg"
    r"|jsonl|ndjson|zip|tar|tgz|bz2|xz|zst|7z|rar)"
)
"""Endings that mean a format that is none of ours: who reads the file would take it for that."""
_GZIP_MAGIC = b"\x1f\x8b"


def save_file(
    path: str | os.PathLike[str],
    saved: Saved,
    format_type: str,
    *,
    compress: bool,
    keeps_previous: bool,
    pickle_key: bytes | None = None,
) -> Path:
    """Write what is saved, whole or not at all.

    Raises:
        ConfigurationError: The path, the format or the key is none.
        HistoryError: It cannot be written; what was there is unchanged.
    """
    chosen = _path_of(path, "save")
    if format_type not in _FORMATS:
        raise ConfigurationError(f"format_type={format_type!r}: give 'auto', 'json', 'sqlite' or 'pickle'")
    is_gzip = chosen.suffix.lower() == ".gz"
    if format_type == "auto":
        ending = (chosen.with_suffix("") if is_gzip else chosen).suffix.lower()
        if _FOREIGN.fullmatch(ending):
            raise ConfigurationError(
                f"save({str(chosen)!r}): {ending} means a format that save() does not write: let the name end in .json, .db or "
                ".pickle, or say format_type='json', 'sqlite' or 'pickle'"
            )
        format_type = _BY_ENDING.get(ending, "json")
    key = require_key(pickle_key, f"save({str(chosen)!r})") if format_type == "pickle" else b""
    document = as_document(saved)
    content = (
        to_pickle(document, key)
        if format_type == "pickle"
        else to_sqlite(document)
        if format_type == "sqlite"
        else to_json(document)
    )
    if len(content) > MOST_BYTES:
        raise HistoryError(
            f"{chosen}: it would be longer than {MOST_BYTES} bytes, and could not be read again: keep fewer points"
        )
    if compress or is_gzip:
        content = gzip.compress(content, compresslevel=6, mtime=0)
    try:
        if chosen.exists() and not stat.S_ISREG(chosen.stat().st_mode):
            raise HistoryError(
                f"{chosen}: there is a folder, a pipe or a device; give the path of a file, such as 'analytics.json'"
            )
        write_whole(chosen, content, keeps_previous=keeps_previous)
    except OSError as error:
        raise HistoryError(f"{chosen}: it cannot be written: {error.strerror or error}; what was there is unchanged") from error
    return chosen


def load_file(
    path: str | os.PathLike[str], *, is_strict: bool, most_metrics: int, pickle_key: bytes | None = None
) -> tuple[Saved, int]:
    """Read what was saved; what it is, is told by its content.

    Args:
        path: Where from.
        is_strict: Refuse a file in which anything is amiss, else leave that out.
        most_metrics: How many metrics are not too many.
        pickle_key: That by which a pickle is signed.

    Returns:
        It, and how many parts were amiss and left out, where ``is_strict`` does not refuse them.

    Raises:
        ConfigurationError: The path is none, or it is a pickle and there is no key.
        HistoryError: It cannot be read, or is not what ``save_file`` writes.
    """
    chosen = _path_of(path, "load")
    shown = str(chosen)
    try:
        refuse_others(chosen)
        content = read_bounded(chosen, MOST_BYTES)
    except OSError as error:
        raise HistoryError(f"{shown}: it cannot be read: {error.strerror or error}") from error
    if content is not None and content.startswith(_GZIP_MAGIC):
        content = _decompressed(content, shown)
    if content is None:
        raise HistoryError(f"{shown}: it is longer than {MOST_BYTES} bytes, or becomes so when decompressed: it is not read")
    if content.startswith(PICKLE_MAGIC):
        document = from_pickle(content, shown, require_key(pickle_key, f"load({shown!r})"))
    elif content.startswith(SQLITE_MAGIC):
        document = from_sqlite(content, shown)
    elif content.startswith(b"\x80"):
        raise HistoryError(f"{shown}: it is a pickle that save() did not sign: it is not opened")
    else:
        document = from_json(content, shown)
    reading = Reading(shown, is_strict=is_strict, most_metrics=most_metrics)
    return reading.read(document), reading.left_out


def _decompressed(content: bytes, shown: str) -> bytes | None:
    try:
        with gzip.GzipFile(fileobj=io.BytesIO(content)) as file:
            read = file.read(MOST_BYTES + 1)
    except (OSError, EOFError, zlib.error) as error:
        raise HistoryError(f"{shown}: it is no gzip that can be read, maybe cut off: {error}") from None
    return read if len(read) <= MOST_BYTES else None


def _path_of(path: str | os.PathLike[str], what: str) -> Path:
    try:
        chosen = Path(path)
    except TypeError:
        raise ConfigurationError(f"{what}(path={path!r}): give the path of a file, such as 'analytics.json'") from None
    if chosen.name in {"", ".."} or "\0" in str(chosen):
        raise ConfigurationError(f"{what}(path={str(path)!r}): give the path of a file, such as 'analytics.json'")
    return chosen
