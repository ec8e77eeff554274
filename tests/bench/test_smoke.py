"""A tiny bench of the gateway alone, from its start to the table."""

from __future__ import annotations

from argparse import Namespace

import pytest

from bench import cpu, memory, run
from bench.candidates import INSTALL, running
from bench.report import as_markdown, tables
from rabbitgw.dev.files import throw_away_dir

TINY = cpu.Plan(rounds=1, requests={16: 64}, lengths={4: 1, 24: 1})


async def test_a_tiny_bench_of_the_gateway(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cpu.Plan, "of", lambda *, quick: TINY)
    monkeypatch.setattr(run, "OPEN_STREAMS", 20)
    said: list[str] = []
    monkeypatch.setattr(run, "say", said.append)
    chosen = Namespace(quick=True, only=["memory", "cpu"], candidates=["rabbitgw"])
    results = await run.measure(chosen, {})
    figures = results["candidates"]["rabbitgw"]["figures"]
    assert figures["request_cpu_us_c16"]["median"] > 0
    assert figures["request_redis_us_c16"]["median"] > 0
    assert figures["rss_mib"]["median"] > 10
    assert [table.title.split(",")[0] for table in tables(results)][-1] == "Memory"
    assert "| rabbitgw |" in as_markdown(results)
    assert len(said) == 2


async def test_a_peer_that_is_not_installed_is_left_out_and_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bench.candidates.shutil.which", lambda *_, **__: None)
    with throw_away_dir() as folder:
        async with running(folder, ("nginx", "nginx-lua", "aiohttp")) as found:
            assert [one.name for one in found.candidates] == ["aiohttp"]
            assert found.not_run == dict.fromkeys(("nginx", "nginx-lua"), f"not run here: {INSTALL}")
            await memory.load(found.candidates[0], mode="closed", model="stub-2-1", requests=2)
