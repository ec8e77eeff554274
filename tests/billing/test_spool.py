"""The disk spool: what was acknowledged is there after a crash, and adopted once."""

from __future__ import annotations

import asyncio
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
