"""The stub and the load generator against each other: what is asked for comes, and what is not whole is told."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import AsyncIterator
from typing import Any
from unittest.mock import Mock

import aiohttp
import pytest

from bench.load import Job, Link, Load, Seen
from bench.stub import DONE, FINISH, STREAM_HEAD, Stub, around_stamp


@pytest.fixture
async def port() -> AsyncIterator[int]:
    """Of a stub in the test's own loop."""
    made: list[Stub] = []

    def stub() -> Stub:
        made.append(Stub())
        return made[-1]

    server = await asyncio.get_running_loop().create_server(stub, "127.0.0.1", 0)
    yield server.sockets[0].getsockname()[1]
    server.close()
    for one in made:
        one.transport.abort()
    await asyncio.sleep(0.01)


async def run(**job: Any) -> dict[str, Any]:
    return await Load(Job(**job)).run()


async def test_a_closed_loop_sends_so_many_requests_in_all(port: int) -> None:
    said = await run(mode="closed", port=port, model="stub-plain", connections=4, requests=30)
    assert (said["whole"], said["chunks"], said["failures"]) == (30, 0, {})
    assert said["seconds"] > 0


async def test_every_chunk_of_every_stream_is_counted_and_timed(port: int) -> None:
    said = await run(mode="closed", port=port, model="stub-7-1", connections=3, requests=9)
    assert (said["whole"], said["chunks"], said["failures"]) == (9, 63, {})
    assert 0 < said["chunk_us"]["p50"] <= said["chunk_us"]["p99"] <= said["chunk_us"]["max"]


def test_a_chunk_is_counted_wherever_a_read_cuts_it() -> None:
    before, after = around_stamp(1, 4)
    chunk = before + b"%019d" % 5 + after
    whole = STREAM_HEAD + chunk + chunk + FINISH + DONE
    for at in range(len(STREAM_HEAD), len(whole)):
        seen = Seen()
        link = Link(seen, 2, lambda _: None)
        link.connection_made(Mock())
        link.send(b"")
        for piece in (whole[:at], whole[at:]):
            link.data_received(piece)
        assert (seen.whole, seen.chunks, len(seen.chunks_ns), dict(seen.failures)) == (1, 2, 2, {}), at


async def test_an_open_loop_answers_what_was_due(port: int) -> None:
    said = await run(mode="open", port=port, model="stub-3-1", connections=2, per_s=200.0, seconds=0.2)
    assert (said["due"], said["whole"], said["chunks"], said["failures"]) == (40, 40, 120, {})


async def test_a_refusal_is_a_failure_with_its_body(port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bench.stub.MODEL", re.compile(b"no such model"))
    said = await run(mode="closed", port=port, model="stub-plain", requests=2)
    assert (said["whole"], said["failures"], said["sample"]) == (0, {"status 404": 2}, "{}")


async def test_a_stream_that_ends_early_is_a_failure(port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bench.load.chunks_of", lambda model: 3)
    said = await run(mode="closed", port=port, model="stub-2-1", requests=1)
    assert (said["whole"], said["failures"]) == (0, {"2 of 3 chunks": 1})


async def test_a_cut_connection_is_a_failure() -> None:
    async def hang_up(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.close()
        await writer.wait_closed()

    server = await asyncio.start_server(hang_up, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    said = await run(mode="closed", port=port, model="stub-plain", requests=1)
    server.close()
    assert (said["whole"], said["failures"]) == (0, {"cut": 1})


@pytest.mark.parametrize(("asks", "stated"), [({}, None), ({"include_usage": True}, 12)])
async def test_the_stub_states_usage_where_it_is_asked_for(
    port: int, asks: dict[str, bool], stated: int | None
) -> None:
    body = {"model": "stub-4-0-3", "stream": True, "stream_options": asks}
    url = f"http://127.0.0.1:{port}/v1/chat/completions"
    async with aiohttp.ClientSession() as http, http.post(url, json=body) as answer:
        text = (await answer.read()).decode()
    *events, done = [event.removeprefix("data: ") for event in text.split("\n\n") if event]
    assert done == "[DONE]"
    chunks = [json.loads(event) for event in events]
    said = "".join(chunk["choices"][0]["delta"].get("content", "") for chunk in chunks if chunk["choices"])
    assert said == "tok tok tok " * 4
    assert next((chunk["usage"]["completion_tokens"] for chunk in chunks if "usage" in chunk), None) == stated
