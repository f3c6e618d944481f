"""A store in a process of its own, which can die: it understands PING, SET and GET of Redis' protocol, and saves nothing.

python examples/store.py 7000   serves on 127.0.0.1:7000
"""

from __future__ import annotations

import asyncio
import sys

__all__ = ["Store", "ask"]


class Store:
    """Values by key, for whoever connects (https://redis.io/docs/latest/develop/reference/protocol-spec/)."""

    def __init__(self) -> None:
        self._values: dict[bytes, bytes] = {}

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer one client until it goes."""
        try:
            while (count := await _length(reader, b"*")) is not None:
                words = [await _word(reader) for _ in range(count)]
                writer.write(self._answer(words))
                await writer.drain()
        except (ConnectionError, asyncio.IncompleteReadError, ValueError):
            pass  # the client went away, or speaks another protocol
        finally:
            writer.close()

    def _answer(self, words: list[bytes]) -> bytes:
        match [words[0].upper(), *words[1:]]:
            case [b"PING"]:
                return b"+PONG\r\n"
            case [b"SET", key, value]:
                self._values[key] = value
                return b"+OK\r\n"
            case [b"GET", key]:
                found = self._values.get(key)
                return b"$-1\r\n" if found is None else b"$%d\r\n%s\r\n" % (len(found), found)
        return b"-ERR unknown command\r\n"


async def ask(port: int, *words: str) -> str | None:
    """Send one command to the store on this port, and return what it says.

    Raises:
        OSError: It is not there, or went away.
    """
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        encoded = [word.encode() for word in words]
        writer.write(b"*%d\r\n" % len(encoded) + b"".join(b"$%d\r\n%s\r\n" % (len(word), word) for word in encoded))
        line = (await reader.readline()).rstrip()
        if not line:
            raise ConnectionResetError("the store went away")
        if line[:1] != b"$":
            return line[1:].decode()
        size = int(line[1:])
        return None if size < 0 else (await reader.readexactly(size + 2))[:-2].decode()
    finally:
        writer.close()


async def _length(reader: asyncio.StreamReader, mark: bytes) -> int | None:
    line = await reader.readline()
    if not line:
        return None
    if line[:1] != mark:
        raise ValueError("this is no array of Redis' protocol")
    return int(line[1:])


async def _word(reader: asyncio.StreamReader) -> bytes:
    size = await _length(reader, b"$")
    return (await reader.readexactly((size or 0) + 2))[:-2]


async def _main(port: int) -> None:
    server = await asyncio.start_server(Store().serve, "127.0.0.1", port)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(_main(int(sys.argv[1])))
