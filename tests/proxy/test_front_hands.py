"""Tasks that serve one call after another: reused, bounded, and keeping nothing of a call that is over."""

from __future__ import annotations

import asyncio
import gc
import weakref
from typing import Any, cast

import pytest

from rabbitgw.proxy import front_hands
from rabbitgw.proxy.ask import Ask
from rabbitgw.proxy.dialects import CHAT
from rabbitgw.proxy.front_hands import Hands
from tests.loops import until


class Job:
    def __init__(self) -> None:
        self.task: asyncio.Task[None] | None = None
        self.may_end = asyncio.Event()
        self.whole = self.was_over = False
        self.error: Exception | None = None

    async def run(self) -> None:
        self.task = asyncio.current_task()
        await self.may_end.wait()
        self.whole = True
        if self.error is not None:
            raise self.error

    @property
    def wire(self) -> Job:
        return self

    def ended(self, job: Any) -> None:
        self.was_over = True


@pytest.fixture
async def hands() -> Hands:
    return Hands(lambda ask, job: cast("Any", job).run())


def give(hands: Hands, job: Any) -> None:
    hands.give(Ask(CHAT, None), job)


async def done(hands: Hands, count: int) -> list[Job]:
    """So many jobs at once, ended."""
    jobs = [Job() for _ in range(count)]
    for job in jobs:
        give(hands, job)
    await until(lambda: all(job.task for job in jobs))
    for job in jobs:
        job.may_end.set()
    await until(lambda: all(job.was_over for job in jobs))
    await asyncio.sleep(0)
    return jobs


async def test_the_next_job_is_done_by_a_task_that_is_there(hands: Hands) -> None:
    first = await done(hands, 3)
    again = await done(hands, 3)
    assert {job.task for job in again} == {job.task for job in first}
    assert len({job.task for job in first}) == 3
    await hands.close()


async def test_a_crowd_that_has_passed_leaves_few_tasks_behind(
    hands: Hands, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(front_hands, "IDLE_MAX", 2)
    jobs = await done(hands, 5)
    await until(lambda: sum(job.task.done() for job in jobs if job.task) == 3)
    assert len(await done(hands, 4)) == 4
    await hands.close()


async def test_nothing_is_kept_of_a_job_that_is_over(hands: Hands) -> None:
    for _ in range(2):  # by a new task, and by one that waited
        (job,) = await done(hands, 1)
        gone = weakref.ref(job)
        job.task = None
        gc.disable()
        try:
            del job
            assert gone() is None
        finally:
            gc.enable()
    await hands.close()


async def test_a_task_that_was_cancelled_while_it_waited_gets_no_job(hands: Hands) -> None:
    (first,) = await done(hands, 1)
    assert first.task is not None
    first.task.cancel()
    (second,) = await done(hands, 1)
    assert second.task is not first.task
    await hands.close()


async def test_a_call_that_fails_is_over_and_its_task_serves_the_next(hands: Hands) -> None:
    failing = Job()
    failing.error = ValueError("a bug")
    failing.may_end.set()
    give(hands, failing)
    await until(lambda: failing.was_over)
    await asyncio.sleep(0)
    (after,) = await done(hands, 1)
    assert after.task is failing.task
    await hands.close()


async def test_the_close_ends_all_that_work_or_wait(hands: Hands) -> None:
    await done(hands, 2)
    working = Job()
    give(hands, working)
    await until(lambda: working.task)
    await hands.close()
    assert working.task is not None
    assert working.task.cancelled()
    assert (working.whole, working.was_over) == (False, True)
    assert len(asyncio.all_tasks()) == 1
