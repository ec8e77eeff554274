"""Hands: tasks that serve one call after another.

To make a task costs 10 us, for asyncio notes each in a weak set that is written in Python; to wake one that waits costs
two. Owns nothing of a call, and keeps nothing of one that is over.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final, Generic, TypeVar

IDLE_MAX: Final = 256  # that wait for work, at 3 KiB each; a crowd that has passed leaves no more behind

Job = TypeVar("Job")


class Hands(Generic[Job]):
    """`serve` does one job. It must not raise."""

    __slots__ = ("_all", "_idle", "_loop", "_serve")

    def __init__(self, serve: Callable[[Job], Awaitable[None]]) -> None:
        self._serve = serve
        self._loop = asyncio.get_running_loop()
        self._all: set[asyncio.Task[None]] = set()  # the loop keeps none alive by itself
        self._idle: list[asyncio.Future[Job]] = []  # by which each waits

    def give(self, job: Job) -> None:
        """Have a job done, begun in the loop's next turn."""
        idle = self._idle
        while idle:
            waiter = idle.pop()
            if not waiter.done():  # its task was cancelled
                waiter.set_result(job)
                return
        task = self._loop.create_task(self._work(job))
        self._all.add(task)
        task.add_done_callback(self._all.discard)

    async def _work(self, job: Job | None) -> None:
        serve, idle, loop = self._serve, self._idle, self._loop
        while job is not None:
            await serve(job)
            job = None
            if len(idle) < IDLE_MAX:
                waiter: asyncio.Future[Job] = loop.create_future()
                idle.append(waiter)
                job = await waiter
                del waiter  # which knows the job

    async def close(self) -> None:
        """Cancel all that work or wait."""
        for task in tuple(self._all):
            task.cancel()
        await asyncio.gather(*self._all, return_exceptions=True)
        self._idle.clear()
