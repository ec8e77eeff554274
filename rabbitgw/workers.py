"""`rabbitgw serve --workers N`: a parent that opens the port, keeps N workers on it, and ends when they have.

Owns starting, replacing and ending processes; knows nothing of what they do. A worker is a new interpreter, not a fork:
threads, event loop and connections of a parent are nothing to inherit. It inherits the listening sockets, so what is
queued there is answered by whichever worker comes first and none is lost with a worker; and its end of a socket pair,
the leash. The worker says on the leash that it serves. Its end of file tells the parent that the worker is gone, and
the worker that the parent is: then it drains as if it had been told to. (The kernel's parent-death signal would come
with the end of a thread, and only on Linux.)
"""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Final

import orjson

from rabbitgw import clock, metrics, telemetry
from rabbitgw.billing.loops import first_of
from rabbitgw.scrape import Board, Boards, Scrape

READY: Final = b"ready\n"
LIVED_S: Final = 10.0  # a worker that ends sooner has died at once
BACKOFF_FIRST_S: Final = 0.5
BACKOFF_MAX_S: Final = 30.0
DEATHS_MAX: Final = 8  # at once, one after the other, while none serves: a minute and a half with the pauses
START_WAIT_S: Final = 60.0  # for the worker that is to take another's place
END_WAIT_S: Final = 30.0  # beyond the drain: to settle what was broken off, with a slow disk
TICK_S: Final = 1.0
POLL_S: Final = 0.01


@dataclass(frozen=True, slots=True)
class Inherited:
    """What a worker is told by its parent, as one word of its command line."""

    slot: str
    leash: int
    listening: tuple[int, ...]
    metrics: tuple[int, ...]
    folder: str

    def word(self) -> str:
        return orjson.dumps(asdict(self)).decode()

    @classmethod
    def read(cls, word: str) -> Inherited:
        told = orjson.loads(word)
        return cls(
            told["slot"], told["leash"], tuple(told["listening"]), tuple(told["metrics"]), told["folder"]
        )

    def board(self) -> Board:
        return Board(Path(self.folder), self.slot)


class Leash:
    """The worker's end."""

    def __init__(self, fd: int, stop: asyncio.Event) -> None:
        self._socket = socket.socket(fileno=fd)
        self._socket.setblocking(False)
        self._stop = stop
        asyncio.get_running_loop().add_reader(self._socket, self._heard)

    def ready(self) -> None:
        with suppress(OSError):  # the parent is gone: that is heard anyway
            self._socket.send(READY)

    def close(self) -> None:
        asyncio.get_running_loop().remove_reader(self._socket)
        self._socket.close()

    def _heard(self) -> None:
        try:
            if self._socket.recv(64):
                return
        except BlockingIOError:
            return
        except OSError:
            pass
        asyncio.get_running_loop().remove_reader(self._socket)
        telemetry.warn("parent_gone", pid=os.getpid())
        self._stop.set()


@dataclass(slots=True)
class Worker:
    """The parent's view of one."""

    slot: str
    process: subprocess.Popen[bytes]
    leash: socket.socket
    started_s: float = field(default_factory=clock.monotonic_s)
    ready: asyncio.Event = field(default_factory=asyncio.Event)
    ended: asyncio.Event = field(default_factory=asyncio.Event)
    retired: bool = False  # it may end: nobody is to take its place then

    @property
    def serves(self) -> bool:
        return self.ready.is_set() and not self.ended.is_set()

    @property
    def ended_well(self) -> bool:
        """It drained; or was told to end before it had begun."""
        return self.process.returncode == 0 or (
            not self.ready.is_set() and self.process.returncode == -signal.SIGTERM
        )

    def retire(self) -> None:
        self.retired = True
        self.process.terminate()

    def kill(self) -> None:
        if not self.ended.is_set():
            telemetry.error("worker_killed", pid=self.process.pid)
            self.process.kill()


class Workers:
    """The parent. `command` starts a worker, which is told what it inherits by one more word."""

    def __init__(
        self,
        command: Sequence[str],
        count: int,
        boards: Boards,
        *,
        listening: Sequence[socket.socket],
        metrics: Sequence[socket.socket] = (),
        drain_timeout_s: float,
    ) -> None:
        self._command = command
        self._count = count
        self._boards = boards
        self._scrape = Scrape(boards.board("parent"))
        self._listening = listening
        self._metrics = metrics
        self._end_wait_s = drain_timeout_s + END_WAIT_S
        self._running: list[Worker] = []
        self._reaping: set[asyncio.Task[None]] = set()
        self._deaths = 0  # at once, one after the other
        self._died_s = 0.0
        self._stop = asyncio.Event()
        self._failed = False

    async def run(self, stop: asyncio.Event, again: asyncio.Event, on_ready: Callable[[], None]) -> int:
        """Serve until `stop`; at each `again`, replace every worker by a new one. Returns the exit status."""
        self._stop = stop
        well = False
        try:
            started = await self._start_all()
            if started:
                on_ready()
                async with asyncio.TaskGroup() as tasks:
                    for worker in started:
                        tasks.create_task(self._keep(worker))
                    tasks.create_task(self._renew(again, tasks))
                    tasks.create_task(self._tell())
        finally:
            well = await self._end_all()
        return 0 if well and not self._failed else 1

    # -- starting --

    async def _start_all(self) -> list[Worker]:
        """One before the others, so that what keeps them from starting is said once. None: they shall not serve."""
        started: list[Worker] = []
        for number in (1, self._count - 1):
            begun = [self._start() for _ in range(number)]
            started += begun
            for worker in begun:
                await first_of(self._stop, worker.ready, worker.ended)
                if self._stop.is_set():
                    return []
                if not worker.ready.is_set():
                    self._failed = True
                    return []
        return started

    def _start(self) -> Worker:
        used = {worker.slot for worker in self._running}
        slot = next(name for name in map(str, range(len(used) + 1)) if name not in used)
        listening = tuple(one.fileno() for one in self._listening)
        metrics_fds = tuple(one.fileno() for one in self._metrics)
        ours, theirs = socket.socketpair()
        told = Inherited(slot, theirs.fileno(), listening, metrics_fds, str(self._boards.folder))
        try:
            process = subprocess.Popen(  # noqa: S603  our own program
                [*self._command, told.word()],
                stdin=subprocess.DEVNULL,
                pass_fds=(theirs.fileno(), *listening, *metrics_fds),
                process_group=0,  # Ctrl-C in a terminal is the parent's to hear
            )
        except OSError:
            ours.close()
            raise
        finally:
            theirs.close()
        ours.setblocking(False)
        worker = Worker(slot, process, ours)
        self._running.append(worker)
        asyncio.get_running_loop().add_reader(ours, self._heard, worker)
        telemetry.log("worker_started", pid=process.pid, slot=slot)
        return worker

    def _heard(self, worker: Worker) -> None:
        """Something came on a leash: the worker's word that it serves, or the end of it."""
        try:
            if worker.leash.recv(64):
                worker.ready.set()
                return
        except BlockingIOError:
            return
        except OSError:
            pass
        asyncio.get_running_loop().remove_reader(worker.leash)
        worker.leash.close()
        task = asyncio.create_task(self._reap(worker))
        self._reaping.add(task)
        task.add_done_callback(self._reaping.discard)

    async def _reap(self, worker: Worker) -> None:
        """A worker has let go of its leash: wait until it is gone."""
        while (status := worker.process.poll()) is None:  # noqa: ASYNC110  nothing else tells
            await asyncio.sleep(POLL_S)
        self._boards.board(worker.slot).bury()
        self._running.remove(worker)
        write = telemetry.log if worker.retired or self._stop.is_set() else telemetry.warn
        write("worker_ended", pid=worker.process.pid, slot=worker.slot, status=status)
        worker.ended.set()

    # -- keeping --

    async def _keep(self, worker: Worker) -> None:
        """Have a worker's place taken when it dies, and so on until the stop."""
        while True:
            await first_of(self._stop, worker.ended)
            if self._stop.is_set() or worker.retired:
                return
            metrics.WORKER_DEATHS.add()
            self._scrape.tick()
            lived = worker.ready.is_set() and clock.monotonic_s() - worker.started_s >= LIVED_S
            while True:
                await first_of(self._stop, timeout_s=0 if lived else self._pause_s())
                if self._stop.is_set():
                    return
                try:
                    worker = self._start()
                    break
                except OSError as error:  # no memory for another process, say
                    telemetry.error("worker_not_started", reason=str(error))
                    lived = False

    def _pause_s(self) -> float:
        """How long to wait after a worker that died at once; gives up when that goes on and on and none serves."""
        now_s = clock.monotonic_s()
        if now_s - self._died_s > 2 * (BACKOFF_MAX_S + LIVED_S):
            self._deaths = 0  # the last one was another story
        self._deaths += 1
        self._died_s = now_s
        if self._deaths >= DEATHS_MAX and not any(worker.serves for worker in self._running):
            telemetry.error("workers_given_up", deaths=self._deaths)
            self._failed = True
            self._stop.set()
        return float(min(BACKOFF_FIRST_S * 2 ** (self._deaths - 1), BACKOFF_MAX_S))

    async def _tell(self) -> None:
        """Leave the parent's own figures for the workers."""
        while not self._stop.is_set():
            self._scrape.tick()
            await first_of(self._stop, timeout_s=TICK_S)

    async def _renew(self, again: asyncio.Event, tasks: asyncio.TaskGroup) -> None:
        """At each `again`, put a new worker in the place of each, one after the other."""
        while not self._stop.is_set():
            await first_of(self._stop, again)
            again.clear()
            for worker in [worker for worker in self._running if worker.serves and not worker.retired]:
                if self._stop.is_set() or not await self._replace(worker, tasks):
                    break

    async def _replace(self, worker: Worker, tasks: asyncio.TaskGroup) -> bool:
        """False: no other could be started, and this one stays."""
        worker.retired = True
        new: Worker | None = None
        try:
            new = self._start()
            await first_of(self._stop, new.ready, new.ended, timeout_s=START_WAIT_S)
        except OSError as error:
            telemetry.error("worker_not_started", reason=str(error))
        if self._stop.is_set():
            return False
        if new is None or not new.serves:
            telemetry.error("worker_not_replaced", pid=worker.process.pid)
            worker.retired = False
            if worker.ended.is_set():  # meanwhile, and nobody took its place
                tasks.create_task(self._keep(worker))
            if new is not None:
                new.kill()
            return False
        tasks.create_task(self._keep(new))
        worker.retire()
        asyncio.get_running_loop().call_later(self._end_wait_s, worker.kill)
        return True

    # -- ending --

    async def _end_all(self) -> bool:
        """Close the port here, have every worker drain, wait until all are gone. Whether all ended well."""
        for one in (*self._listening, *self._metrics):
            one.close()  # before the workers do: whichever is last takes in what waits there
        ending = tuple(self._running)
        for worker in ending:
            worker.retire()
        with suppress(TimeoutError):
            async with asyncio.timeout(self._end_wait_s):
                for worker in ending:
                    await worker.ended.wait()
        for worker in ending:
            worker.kill()
            await worker.ended.wait()
        self._boards.remove()
        return all(worker.ended_well for worker in ending)


def own_command(*words: str) -> list[str]:
    """This program again, by the interpreter that runs it."""
    return [sys.executable, "-m", "rabbitgw", *words]
