"""The parent of the workers, with workers that only pretend: how it starts, replaces, gives up and ends."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from rabbitgw import workers
from rabbitgw.scrape import Boards
from rabbitgw.workers import Workers
from tests.flows.house import until

# Leaves its pid in the folder, then does what the file `mood` says; it ends when its leash does, or by SIGTERM.
PRETENDER = """
import json, os, pathlib, signal, socket, sys
folder, told = pathlib.Path(sys.argv[1]), json.loads(sys.argv[2])
mood = (folder / "mood").read_text()
leash = socket.socket(fileno=told["leash"])
if mood == "deaf":
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
else:
    signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
written = folder / f"{os.getpid()}.written"
written.write_text(told["slot"])
written.rename(folder / f"{os.getpid()}.pid")  # whole once it is seen
if mood == "dying":
    os._exit(3)
leash.send(b"ready\\n")
(folder / f"{os.getpid()}.serves").touch()
leash.recv(1)
"""


@dataclass
class Parent:
    folder: Path
    boards: Boards
    stop: asyncio.Event
    again: asyncio.Event
    ready: asyncio.Event
    status: asyncio.Task[int]

    def mood(self, mood: str) -> None:
        (self.folder / "mood").write_text(mood)

    def begun(self) -> dict[int, str]:
        """Every worker that was ever started: its slot by its pid."""
        return {int(path.stem): path.read_text() for path in self.folder.glob("*.pid")}

    def alive(self) -> set[int]:
        return {pid for pid in self.begun() if Path(f"/proc/{pid}").exists()}

    def serving(self) -> set[int]:
        return {pid for pid in self.alive() if (self.folder / f"{pid}.serves").exists()}


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(workers, "BACKOFF_FIRST_S", 0.001)
    monkeypatch.setattr(workers, "DEATHS_MAX", 4)
    monkeypatch.setattr(workers, "END_WAIT_S", 0.5)


@asynccontextmanager
async def parent(folder: Path, mood: str, *, count: int = 2) -> AsyncIterator[Parent]:
    (folder / "mood").write_text(mood)
    boards = Boards(folder)
    command = [sys.executable, "-I", "-S", "-c", PRETENDER, str(folder)]
    many = Workers(command, count, boards, listening=[], drain_timeout_s=0.0)
    stop, again, ready = asyncio.Event(), asyncio.Event(), asyncio.Event()
    status = asyncio.create_task(many.run(stop, again, ready.set))
    opened = Parent(folder, boards, stop, again, ready, status)
    try:
        yield opened
    finally:
        stop.set()
        await status
        assert not opened.alive()
        assert not boards.folder.exists()


async def serving(one: Parent) -> set[int]:
    """The workers, once all serve."""
    async with asyncio.timeout(30):
        await one.ready.wait()
    return one.alive()


async def ends(one: Parent) -> int:
    async with asyncio.timeout(60):
        return await one.status


async def test_it_is_ready_when_all_are_and_ends_well_when_they_do(tmp_path: Path) -> None:
    async with parent(tmp_path, "serving", count=3) as one:
        await serving(one)
        assert sorted(one.begun().values()) == ["0", "1", "2"]
        one.stop.set()
        assert await ends(one) == 0


async def test_a_first_worker_that_cannot_start_ends_it_before_the_others_begin(tmp_path: Path) -> None:
    async with parent(tmp_path, "dying", count=3) as one:
        assert await ends(one) == 1
        assert not one.ready.is_set()
        assert list(one.begun().values()) == ["0"]


async def test_a_worker_that_dies_is_replaced_in_its_slot(tmp_path: Path) -> None:
    async with parent(tmp_path, "serving") as one:
        before = await serving(one)
        victim = next(pid for pid, slot in one.begun().items() if slot == "0")
        os.kill(victim, signal.SIGKILL)
        await until(lambda: len(one.alive() - {victim}) == 2)
        (new,) = one.alive() - before
        assert one.begun()[new] == "0"


async def test_workers_that_die_at_once_again_and_again_end_it(tmp_path: Path) -> None:
    async with parent(tmp_path, "serving") as one:
        served = await serving(one)
        one.mood("dying")
        for pid in served:
            os.kill(pid, signal.SIGKILL)
        assert await ends(one) == 1
        assert 4 <= len(one.begun()) <= 6  # the two that served, and the rest of DEATHS_MAX


async def test_it_goes_on_trying_while_another_worker_serves(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(workers, "BACKOFF_MAX_S", 0.01)
    async with parent(tmp_path, "serving") as one:
        victim, other = await serving(one)
        one.mood("dying")
        os.kill(victim, signal.SIGKILL)
        await until(lambda: len(one.begun()) > 12)  # far more than DEATHS_MAX
        assert other in one.alive()
        one.mood("serving")
        await until(lambda: len(one.serving()) == 2)
        one.stop.set()
        assert await ends(one) == 0


async def test_a_worker_that_does_not_end_is_killed_and_the_end_is_no_good_one(tmp_path: Path) -> None:
    async with parent(tmp_path, "deaf") as one:
        await serving(one)
        one.stop.set()
        assert await ends(one) == 1


async def test_a_renewal_that_fails_leaves_the_old_workers(tmp_path: Path) -> None:
    async with parent(tmp_path, "serving") as one:
        before = await serving(one)
        one.mood("dying")
        one.again.set()
        await until(lambda: len(one.begun()) == 3)
        await until(lambda: one.alive() == before)
        one.mood("serving")
        one.again.set()
        await until(lambda: len(one.serving()) == 2 and not before & one.alive())
        one.stop.set()
        assert await ends(one) == 0


async def test_a_stop_amid_the_start_ends_it_well(tmp_path: Path) -> None:
    async with parent(tmp_path, "serving", count=4) as one:
        await until(lambda: len(one.begun()) > 0)
        one.stop.set()
        assert await ends(one) == 0
