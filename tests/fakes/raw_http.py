"""An HTTP server whose every byte the test writes: it reads whole requests and knows nothing else of HTTP."""

from __future__ import annotations

import asyncio
import socket
import ssl
import struct
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress


class Connection:
    """One accepted connection. `number` counts from 1; `requests` are head and body of each read so far."""

    def __init__(self, number: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.number = number
        self.reader = reader
        self.writer = writer
        self.requests: list[tuple[bytes, bytes]] = []

    async def read_request(self) -> tuple[bytes, bytes]:
        head = await self.reader.readuntil(b"\r\n\r\n")
        length = 0
        for line in head.lower().split(b"\r\n"):
            if line.startswith(b"content-length:"):
                length = int(line[15:])
        request = (head, await self.reader.readexactly(length))
        self.requests.append(request)
        return request

    async def send(self, *pieces: bytes) -> None:
        """Each piece in a write of its own, with a turn between, so that it is likely read alone."""
        for piece in pieces:
            self.writer.write(piece)
            await self.writer.drain()
            await asyncio.sleep(0)

    def end(self) -> None:
        """FIN after what was sent."""
        self.writer.close()

    def reset(self) -> None:
        """RST."""
        sock: socket.socket = self.writer.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.writer.transport.abort()

    async def wait_gone(self) -> None:
        """Until the other side has closed."""
        while await self.reader.read(65536):
            pass


Script = Callable[[Connection], Awaitable[None]]


class RawServer:
    """`errors` are what scripts raised: a test that passes leaves none."""

    def __init__(self, script: Script) -> None:
        self.script = script
        self.connections: list[Connection] = []
        self.errors: list[BaseException] = []
        self.port = 0
        self._tasks: set[asyncio.Task[None]] = set()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        connection = Connection(len(self.connections) + 1, reader, writer)
        self.connections.append(connection)
        try:
            await self.script(connection)
        except (ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass  # the other side left, or the test is over
        except Exception as error:
            self.errors.append(error)
        finally:
            writer.close()
            self._tasks.discard(task)

    async def stop(self) -> None:
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for connection in self.connections:
            # asyncio's transport, closed with bytes unsent and done with them since, fails on a late abort
            with suppress(AttributeError):
                connection.writer.transport.abort()


@asynccontextmanager
async def raw_server(script: Script, *, tls: ssl.SSLContext | None = None) -> AsyncIterator[RawServer]:
    raw = RawServer(script)
    server = await asyncio.start_server(raw.serve, "127.0.0.1", 0, ssl=tls)
    raw.port = server.sockets[0].getsockname()[1]
    try:
        yield raw
    finally:
        server.close()
        await raw.stop()
        await asyncio.sleep(0)
    assert raw.errors == []
