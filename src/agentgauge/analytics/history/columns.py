"""Numbers as they lie on disk: one series over one block, small and quickly unpacked."""

from __future__ import annotations

import math
import struct
import zlib
from array import array
from contextlib import contextmanager
from itertools import accumulate, repeat
from operator import mul, sub, truediv
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

__all__ = ["MISSING", "DamageError", "decoding", "numbers_of", "pack", "packed_times", "unpack", "unpack_times"]

MISSING = math.nan

_WIDTH = 8
_CONSTANT, _PLAIN, _DEFLATED, _SPLIT, _STEPS = b"c", b"p", b"z", b"s", b"d"
_ONE = struct.Struct("<d")
_LEVEL = 6  # a column is packed once
_RAW_DEFLATE = -15  # without a head and a sum: SQLite's pages have neither, too
_HIGH_PLANES = (1, _WIDTH)
_SCALES = (1.0, 10.0, 100.0, 1000.0, 1e4, 1e6)
_LARGEST = 2.0**53
_STEP_TYPES = (("b", 1 << 7), ("h", 1 << 15), ("i", 1 << 31), ("q", 1 << 63))
_SMALL = range(256)
_MINUS_ZERO = _ONE.pack(-0.0)
_HEAD = struct.Struct("<BBd")  # of steps: which type, whether deflated, and scale; the first number


class DamageError(Exception):
    """What lies in the file is nothing that was ever written there."""


@contextmanager
def decoding(what: str) -> Iterator[None]:
    """Take whatever fails for damage; in here is only what was read from the file, and nothing of the caller's.

    Raises:
        DamageError: It failed.
    """
    try:
        yield
    except (ValueError, TypeError, AttributeError, LookupError, ArithmeticError, struct.error, zlib.error) as error:
        raise DamageError(f"{what} cannot be read: {error}") from error


def numbers_of(stored: bytes) -> array[float]:
    """Return the numbers of a sweep's part.

    Raises:
        DamageError: It is none.
    """
    with decoding("a part of a sweep"):
        numbers = array("d")
        numbers.frombytes(stored)
        return numbers


def _deflated(body: bytes) -> bytes:
    packer = zlib.compressobj(_LEVEL, zlib.DEFLATED, _RAW_DEFLATE)
    return packer.compress(body) + packer.flush()


def _planes(stored: bytes, width: int) -> list[bytes]:
    return [stored[byte::width] for byte in range(width)]


def _joined(planes: bytes, width: int, count: int) -> bytes | bytearray:
    if width == 1:
        return planes
    stored = bytearray(len(planes))
    for byte in range(width):
        stored[byte::width] = planes[byte * count : (byte + 1) * count]
    return stored


def pack(column: array[float]) -> bytes:
    """Return a column in its shortest form.

    That is one number where all are the same; what each adds to the one before, where all are whole numbers or have few decimals;
    else bytes of equal weight together: the sign and exponent of neighbours are mostly the same, and deflate well, the low bytes
    of what was measured do not, and stay as they are.
    """
    stored = column.tobytes()
    if stored == stored[:_WIDTH] * len(column):
        first = column[0]
        is_small = first in _SMALL and stored[:_WIDTH] != _MINUS_ZERO
        return _CONSTANT + (bytes([int(first)]) if is_small else stored[:_WIDTH])
    steps = _packed_steps(column, stored)
    if steps is not None:
        return steps
    planes = _planes(stored, _WIDTH)
    forms = [
        _SPLIT + bytes([high]) + b"".join(planes[: _WIDTH - high]) + _deflated(b"".join(planes[_WIDTH - high :]))
        for high in _HIGH_PLANES
    ]
    return min(_PLAIN + b"".join(planes), *forms, key=len)


def _packed_steps(column: array[float], stored: bytes) -> bytes | None:
    """Return what each adds to the one before; None where that does not give back each number to the last bit."""
    found = _as_whole(column, stored)
    if found is None:
        return None
    exponent, whole = found
    steps = list(map(sub, whole[1:], whole))
    low, high = min(steps), max(steps)
    kind = next(kind for kind, (_, limit) in enumerate(_STEP_TYPES) if -limit <= low and high < limit)
    typed = array(_STEP_TYPES[kind][0], steps)
    body = b"".join(_planes(typed.tobytes(), typed.itemsize))
    deflated = _deflated(body)
    is_shorter = len(deflated) < len(body)
    return _STEPS + _HEAD.pack(kind << 1 | is_shorter, exponent, whole[0]) + (deflated if is_shorter else body)


def _as_whole(column: array[float], stored: bytes) -> tuple[int, list[int]] | None:
    """Return which scale makes all whole numbers, and these."""
    first = column[0]
    try:
        for exponent, scale in enumerate(_SCALES):
            if round(first * scale) / scale == first:
                whole = list(map(round, map(mul, column, repeat(scale))))
                if max(whole) > _LARGEST or min(whole) < -_LARGEST:
                    return None
                if array("d", map(truediv, whole, repeat(scale))).tobytes() == stored:
                    return exponent, whole
    except (ValueError, OverflowError):  # NaN, or infinite
        pass
    return None


def unpack(packed: bytes | None, count: int) -> array[float]:
    """Return the column that was packed; as many missing ones where there is none.

    Raises:
        DamageError: It is no column of so many.
    """
    if packed is None:
        return array("d", [MISSING]) * count
    with decoding("a column"):
        return _unpacked(packed, count)


def _unpacked(packed: bytes, count: int) -> array[float]:
    form, body = packed[:1], packed[1:]
    if form == _STEPS:
        return _unpacked_steps(body, count)
    if form == _CONSTANT and len(body) == _WIDTH:
        return array("d", _ONE.unpack(body)) * count
    if form == _CONSTANT and len(body) == 1:
        return array("d", [body[0]]) * count
    if form == _SPLIT and body:
        low = 1 + (_WIDTH - body[0]) * count
        body = body[1:low] + zlib.decompress(body[low:], _RAW_DEFLATE)
    elif form == _DEFLATED:  # of version 2
        body = zlib.decompress(body)
    elif form != _PLAIN:
        raise ValueError(f"a column of an unknown form {form!r}")
    if len(body) != count * _WIDTH:
        raise ValueError(f"a column of {len(body)} bytes where {count} numbers belong")
    column = array("d")
    column.frombytes(_joined(body, _WIDTH, count))
    return column


def _unpacked_steps(body: bytes, count: int) -> array[float]:
    flags, exponent, first = _HEAD.unpack_from(body)
    steps = array(_STEP_TYPES[flags >> 1][0])
    scale, begin = _SCALES[exponent], int(first)
    planes = zlib.decompress(body[_HEAD.size :], _RAW_DEFLATE) if flags & 1 else body[_HEAD.size :]
    if len(planes) != (count - 1) * steps.itemsize:
        raise ValueError(f"a column of {len(planes)} bytes where {count} numbers belong")
    steps.frombytes(_joined(planes, steps.itemsize, count - 1))
    whole = accumulate(steps, initial=begin)  # sums of whole numbers below 2**53: exact
    return array("d", whole if scale == 1.0 else map(truediv, whole, repeat(scale)))


def packed_times(times: Sequence[float]) -> bytes:
    """Return times as one value of a row."""
    return zlib.compress(array("d", times).tobytes(), _LEVEL)


def unpack_times(packed: bytes) -> array[float]:
    """Return the times that were packed.

    Raises:
        DamageError: They are none.
    """
    with decoding("the times of a block"):
        times = array("d")
        times.frombytes(zlib.decompress(packed))
        return times
