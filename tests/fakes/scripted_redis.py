"""A Redis that does as the test says: silent, lying, gone. For faults only; all else needs a real one."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import hiredis

Reply = bytes | None
INFO_REPLY = b"# Server\r\nredis_version:7.0.0\r\nrun_id:%s\r\n"


class ScriptedRedis:
    """`answer(command)` gives the bytes of a reply, None for none; `reads` counts the pieces that came."""

    def __init__(self) -> None:
        self.run_id = "a" * 40
        self.answer: Callable[[list[bytes]], Reply] = lambda command: b"+OK\r\n"
        self.greeting: Callable[[list[bytes]], Reply] = self._greet
        self.commands: list[list[bytes]] = []
        self.reads = 0
        self.connections = 0
        self.writers: list[asyncio.StreamWriter] = []
        self.may_read = asyncio.Event()
        self.may_read.set()
        self.port = 0
        self._server: asyncio.Server | None = None

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}"

    def _greet(self, command: list[bytes]) -> Reply:
        body = INFO_REPLY % self.run_id.encode()
        return b"$%d\r\n%b\r\n" % (len(body), body)

    def say(self, data: bytes) -> None:
        """Send bytes on the newest connection, asked or not."""
        self.writers[-1].write(data)

    def hang_up(self) -> None:
        for writer in self.writers:
            writer.transport.abort()
        self.writers.clear()

    async def listen(self) -> None:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", self.port)
        self.port = self._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        assert self._server is not None
        self._server.close()
        self.hang_up()
        await self._server.wait_closed()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        self.writers.append(writer)
        commands = hiredis.Reader()
        try:
            while True:
                await self.may_read.wait()
                data = await reader.read(65536)
                if not data:
                    break
                self.reads += 1
                commands.feed(data)
                while (command := commands.gets()) is not False:
                    self._reply(command, writer)
        except ConnectionError:
            pass
        finally:
            writer.close()

    def _reply(self, command: list[bytes], writer: asyncio.StreamWriter) -> None:
        if command[0] == b"INFO":
            reply = self.greeting(command)
        else:
            self.commands.append(command)
            reply = self.answer(command)
        if reply is not None:
            writer.write(reply)


@asynccontextmanager
async def scripted_redis() -> AsyncIterator[ScriptedRedis]:
    server = ScriptedRedis()
    await server.listen()
    try:
        yield server
    finally:
        await server.stop()
