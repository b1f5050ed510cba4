"""A framed stream: each message behind its length (4 bytes, big endian)."""

import asyncio
from typing import Any, Generic, TypeVar

from xenet.link.messages import FromAgent, FromServer, decode, encode

M = TypeVar("M")
LIMIT = 1 << 30
"""Bytes; a larger frame is no message of ours."""


class Channel(Generic[M]):
    """One end of a link; `kind` is what the other end sends."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, kind: Any) -> None:
        self._reader = reader
        self._writer = writer
        self._kind = kind

    async def receive(self) -> M:
        """The next message. Raises asyncio.IncompleteReadError or ConnectionError when the other end is gone."""
        size = int.from_bytes(await self._reader.readexactly(4), "big")
        if size > LIMIT:
            raise ConnectionError("not a link message")
        message: M = decode(self._kind, await self._reader.readexactly(size))
        return message

    def send(self, message: FromAgent | FromServer) -> None:
        """Put a message on its way without waiting for it."""
        body = encode(message)
        self._writer.write(len(body).to_bytes(4, "big") + body)

    async def drain(self) -> None:
        await self._writer.drain()

    def close(self) -> None:
        self._writer.close()


async def connect(path: str) -> Channel[FromServer]:
    """To the server's link socket. Raises OSError while it is not there."""
    reader, writer = await asyncio.open_unix_connection(path)
    return Channel(reader, writer, FromServer)
