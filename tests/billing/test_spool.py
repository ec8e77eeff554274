"""The disk spool: what was acknowledged is there after a crash, and adopted once."""

from __future__ import annotations

import asyncio
import errno
import fcntl
import os
from pathlib import Path

import pytest

from rabbitgw.billing import spool as spool_module
from rabbitgw.billing.spool import Spool, SpoolFailed, read_records


async def test_records_of_a_dead_process_are_adopted(tmp_path: Path) -> None:
    dead = Spool(tmp_path, "dead")
    await asyncio.gather(*(dead.keep(f"h{n}", b'{"n":%d}' % n) for n in range(50)))
    await dead.drop("h7")
    dead.close()  # closing with records left behaves as a death: the file stays
    living = Spool(tmp_path, "living")
    records = living.adopt()
    assert len(records) == 49
    assert b'{"n":7}' not in records
    for n in range(50):
        await living.drop(f"h{n}")
    living.close()
    assert list(tmp_path.iterdir()) == []


async def test_the_spool_of_a_living_process_is_left_alone(tmp_path: Path) -> None:
    first = Spool(tmp_path, "first")
    await first.keep("h1", b"{}")
    second = Spool(tmp_path, "second")
    assert second.adopt() == []
    await first.drop("h1")
    first.close()
    second.close()


async def test_a_torn_last_line_is_skipped(tmp_path: Path) -> None:
    (tmp_path / "dead.spool").write_bytes(b'{"id":"a","record":"1"}\n{"id":"b","rec')
    spool = Spool(tmp_path, "living")
    assert spool.adopt() == [b"1"]
    await spool.drop("a")
    spool.close()
    assert list(tmp_path.iterdir()) == []


async def test_a_disk_that_refuses_is_an_error_of_the_store(tmp_path: Path) -> None:
    spool = Spool(tmp_path, "w")
    (tmp_path / "w.spool").mkdir()
    with pytest.raises(SpoolFailed):
        await spool.keep("h1", b"{}")
    spool.close()


async def test_the_spool_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(spool_module, "PENDING_MAX", 2)
    spool = Spool(tmp_path, "w")
    await spool.keep("h1", b"{}")
    await spool.keep("h2", b"{}")
    with pytest.raises(SpoolFailed, match="limit of 2"):
        await spool.keep("h3", b"{}")
    spool.close()


def test_a_record_kept_again_after_its_drop_is_there() -> None:
    data = b'{"id":"a","record":"1"}\n{"id":"a","record":null}\n{"id":"a","record":"2"}\n'
    assert read_records(data) == {"a": b"2"}


async def test_what_the_disk_did_not_take_does_not_spoil_what_comes_after_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spool = Spool(tmp_path, "w")
    await spool.keep("h1", b"1")

    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, "no space")

    with monkeypatch.context() as patched:
        patched.setattr(os, "fsync", full)
        with pytest.raises(SpoolFailed):
            await spool.keep("h2", b"2")
    await spool.keep("h3", b"3")
    assert read_records((tmp_path / "w.spool").read_bytes()) == {"h1": b"1", "h3": b"3"}
    spool.close()


async def test_a_spool_is_emptied_when_its_last_record_is_dropped(tmp_path: Path) -> None:
    spool = Spool(tmp_path, "w")
    for _ in range(2):
        await asyncio.gather(spool.keep("h1", b"{}"), spool.keep("h2", b"{}"))
        await spool.drop("h1")
        assert (tmp_path / "w.spool").stat().st_size > 0
        await spool.drop("h2")
        assert (tmp_path / "w.spool").stat().st_size == 0
    spool.close()


async def test_a_spool_removed_between_its_opening_and_its_lock_is_opened_anew(tmp_path: Path) -> None:
    path = tmp_path / "w.spool"
    with path.open("wb") as adopted:
        fcntl.flock(adopted, fcntl.LOCK_EX)
        spool = Spool(tmp_path, "w")
        keeping = asyncio.create_task(spool.keep("h1", b"{}"))
        await asyncio.sleep(0.05)
        assert not keeping.done()
        path.unlink()
    await keeping
    assert read_records(path.read_bytes()) == {"h1": b"{}"}
    spool.close()


async def test_an_empty_spool_of_a_dead_process_is_removed_at_once(tmp_path: Path) -> None:
    (tmp_path / "dead.spool").write_bytes(b"")
    (tmp_path / "other.spool").write_bytes(b'{"id":"a","record":"1"}\n')
    spool = Spool(tmp_path, "living")
    assert spool.adopt() == [b"1"]
    assert [path.name for path in tmp_path.iterdir()] == ["other.spool"]
    spool.close()
