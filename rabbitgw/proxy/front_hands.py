"""Hands: tasks that serve one call after another.

To make a task costs 10 us, for asyncio notes each in a weak set that is written in Python; to wake one that waits costs
two. Owns nothing of a call, and keeps nothing of one that is over.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final

from rabbitgw import telemetry
from rabbitgw.proxy.ask import Ask
from rabbitgw.proxy.front_sink import Answer

IDLE_MAX: Final = 256  # that wait for work, at 3 KiB each; a crowd that has passed leaves no more behind


class Hands:
    """`serve` serves one call; behind it, however it ended, the answer's connection is told.

    The money of a call outlives its client: nothing here ends with a connection.
    """

    __slots__ = ("_all", "_idle", "_loop", "_serve")

    def __init__(self, serve: Callable[[Ask, Answer], Awaitable[None]]) -> None:
        self._serve = serve
        self._loop = asyncio.get_running_loop()
        self._all: set[asyncio.Task[None]] = set()  # the loop keeps none alive by itself
        self._idle: list[asyncio.Future[tuple[Ask, Answer]]] = []  # by which each waits

    @property
    def busy(self) -> int:
        """Calls that are served."""
        return len(self._all) - sum(not waiter.done() for waiter in self._idle)

    def give(self, ask: Ask, answer: Answer) -> None:
        """Have a call served, begun in the loop's next turn."""
        idle = self._idle
        while idle:
            waiter = idle.pop()
            if not waiter.done():  # its task was cancelled
                waiter.set_result((ask, answer))
                return
        task = self._loop.create_task(self._work((ask, answer)))
        self._all.add(task)
        task.add_done_callback(self._all.discard)

    async def _work(self, call: tuple[Ask, Answer]) -> None:
        serve, idle, loop = self._serve, self._idle, self._loop
        while True:
            ask, answer = call
            try:
                await serve(ask, answer)
            except Exception as error:
                telemetry.error("request_failed", exc=error, request_id=ask.request_id)
            finally:
                answer.wire.ended(answer)
            if len(idle) >= IDLE_MAX:
                return
            del call, ask, answer  # nothing is kept while it waits
            waiter: asyncio.Future[tuple[Ask, Answer]] = loop.create_future()
            idle.append(waiter)
            call = await waiter
            del waiter  # which knows the call

    async def close(self) -> None:
        """Cancel all that work or wait."""
        for task in tuple(self._all):
            task.cancel()
        await asyncio.gather(*self._all, return_exceptions=True)
        self._idle.clear()
