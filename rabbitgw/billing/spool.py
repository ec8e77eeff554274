"""Records that must survive this process, on disk: one file per process, appended by one writer thread.

Appends that come while the disk is busy share the next fsync. A file is locked while its process lives; a later
process adopts the files of dead ones. Knows nothing of what the records mean.
Format: JSON lines, {"id": ..., "record": "..."} to keep and {"id": ..., "record": null} to drop; a torn last
line, which was never acknowledged, is skipped.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import fcntl
import os
import queue
import threading
from io import FileIO
from pathlib import Path
from typing import Final, NamedTuple

import orjson

from rabbitgw.errors import StoreError

PENDING_MAX: Final = 50_000  # records in one process' spool: past it nothing more is taken
SUFFIX: Final = ".spool"


class SpoolFailed(StoreError):
    """The disk did not take a record."""


class _Append(NamedTuple):
    record_id: str
    record: bytes | None  # None: forget it
    done: asyncio.Future[None]

    @property
    def line(self) -> bytes:
        record = None if self.record is None else self.record.decode()
        return orjson.dumps({"id": self.record_id, "record": record}) + b"\n"


class Spool:
    def __init__(self, folder: Path, worker_id: str) -> None:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._folder = folder
        self._path = folder / f"{worker_id}{SUFFIX}"
        self._file: FileIO | None = None
        self._adopted: list[FileIO] = []
        self._ids: set[str] = set()
        self._stored: set[str] = set()  # in our own file; the writer thread's
        self._queue: queue.SimpleQueue[_Append | None] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None
        self._loop = asyncio.get_running_loop()

    @property
    def records(self) -> int:
        """Those that are not dropped yet, adopted ones too."""
        return len(self._ids)

    async def keep(self, record_id: str, record: bytes) -> None:
        """Store a record; returns when it is on disk.

        Raises: SpoolFailed.
        """
        if len(self._ids) >= PENDING_MAX:
            raise SpoolFailed(f"the spool holds its limit of {PENDING_MAX} records")
        self._ids.add(record_id)
        try:
            await self._append(record_id, record)
        except SpoolFailed:
            self._ids.discard(record_id)
            raise

    async def drop(self, record_id: str) -> None:
        """Forget a record; when none is left, the files are emptied."""
        if record_id not in self._ids:
            return
        self._ids.discard(record_id)
        try:
            await self._append(record_id, None)
        except SpoolFailed:
            return  # it will be tried again after a restart, which changes nothing
        if not self._ids:
            self._forget_adopted()

    def adopt(self) -> list[bytes]:
        """The records of processes that died. Their files stay locked until nothing is left to do, and are removed."""
        records: dict[str, bytes] = {}
        for path in sorted(self._folder.glob(f"*{SUFFIX}")):
            file = None if path == self._path else _locked(path, wait=False)
            if file is None:
                continue  # our own, or its process lives
            found = read_records(file.readall())
            if found:
                self._adopted.append(file)
                records.update(found)
            else:
                _remove(file)
        self._ids.update(records)
        return list(records.values())

    def close(self) -> None:
        """Stop the writer; what is not dropped stays on disk for the next process."""
        if self._thread is not None:
            self._queue.put(None)
            self._thread.join()
            self._thread = None
        for file in self._adopted:
            file.close()
        if self._file is not None:
            if not self._ids:
                self._path.unlink(missing_ok=True)
            self._file.close()
            self._file = None

    async def _append(self, record_id: str, record: bytes | None) -> None:
        if self._thread is None:
            self._thread = threading.Thread(target=self._write, name="spool", daemon=True)
            self._thread.start()
        done = self._loop.create_future()
        self._queue.put(_Append(record_id, record, done))
        await done

    def _write(self) -> None:
        """The writer thread: take all that waits, write it, sync once, tell them all."""
        while (first := self._queue.get()) is not None:
            batch = [first]
            closing = False
            while not self._queue.empty():
                item = self._queue.get()
                if item is None:
                    closing = True
                    break
                batch.append(item)
            failure: Exception | None = None
            try:
                self._store(batch)
            except Exception as error:  # whatever it is, the thread must go on: others wait for it
                failure = SpoolFailed(f"the spool {self._path.name} cannot be written: {error}")
            for item in batch:
                self._loop.call_soon_threadsafe(finish, item.done, failure)
            if closing:
                return

    def _store(self, batch: list[_Append]) -> None:
        if self._file is None:
            self._file = _locked(self._path, wait=True)
            assert self._file is not None
        for item in batch:
            if item.record is None:
                self._stored.discard(item.record_id)
            else:
                self._stored.add(item.record_id)
        if not self._stored:
            self._file.truncate(0)  # all of it was dropped
            return
        data = b"".join(item.line for item in batch)
        size = os.fstat(self._file.fileno()).st_size
        try:
            if self._file.write(data) != len(data):
                raise OSError(errno.ENOSPC, "only a part was written")
            os.fsync(self._file.fileno())
        except OSError:
            self._stored.difference_update(item.record_id for item in batch)
            with contextlib.suppress(OSError):
                self._file.truncate(size)  # a torn line would take the next one with it
            raise

    def _forget_adopted(self) -> None:
        for file in self._adopted:
            _remove(file)
        self._adopted.clear()


def _locked(path: Path, *, wait: bool) -> FileIO | None:
    """Open a spool and lock it. None, without `wait`, when its process lives or it has just been removed.

    Between the opening and the lock another process may have adopted the file and removed it: what is written to it
    then would be lost, so the file must still be there once it is locked.
    """
    while True:
        try:
            file = FileIO(path, "a+" if wait else "r+")
        except FileNotFoundError:
            return None
        try:
            fcntl.flock(file, fcntl.LOCK_EX if wait else fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.close()
            return None
        if os.fstat(file.fileno()).st_nlink:
            return file
        file.close()


def _remove(file: FileIO) -> None:
    Path(str(file.name)).unlink(missing_ok=True)
    file.close()


def finish(done: asyncio.Future[None], failure: Exception | None) -> None:
    if done.done():
        return
    if failure is None:
        done.set_result(None)
    else:
        done.set_exception(failure)


def read_records(data: bytes) -> dict[str, bytes]:
    """The records that were kept and not dropped."""
    records: dict[str, bytes] = {}
    for line in data.split(b"\n"):
        try:
            entry = orjson.loads(line)
            record_id, record = entry["id"], entry["record"]
        except (orjson.JSONDecodeError, TypeError, KeyError):
            continue  # torn by a crash before it was acknowledged
        if record is None:
            records.pop(record_id, None)
        else:
            records[record_id] = record.encode()
    return records
