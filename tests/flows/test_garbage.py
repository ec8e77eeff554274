"""A call leaves nothing for the garbage collector: what is in no cycle is gone at once, and the collector has no work
that would hold up every stream of the process (a tenth of a second in a second of load, when calls left cycles)."""

from __future__ import annotations

import asyncio
import collections
import gc

import pytest

from tests.fakes.openai_upstream import Answer, FakeUpstream, Refuse
from tests.flows.house import House

CALLS = 100
PLAIN = b'{"model":"fake-gpt","messages":[{"role":"user","content":"hi"}]}'
STREAM = PLAIN[:-1] + b',"stream":true}'


async def call(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, house: House, body: bytes) -> None:
    writer.write(
        b"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\nauthorization: Bearer %b\r\n"
        b"content-type: application/json\r\ncontent-length: %d\r\n\r\n%b"
        % (house.secret.encode(), len(body), body)
    )
    head = (await reader.readuntil(b"\r\n\r\n")).lower()
    if b"content-length: " in head:
        await reader.readexactly(int(head.split(b"content-length: ")[1].split(b"\r\n")[0]))
    else:
        await reader.readuntil(b"\r\n0\r\n\r\n")


@pytest.mark.parametrize("body", [PLAIN, STREAM], ids=["plain", "stream"])
@pytest.mark.parametrize("script", [Answer(), Refuse(429)], ids=["answered", "refused"])
async def test_a_call_leaves_nothing_to_collect(
    house: House, upstream: FakeUpstream, body: bytes, script: Answer | Refuse
) -> None:
    upstream.script("fake-gpt", script)
    reader, writer = await asyncio.open_connection("127.0.0.1", house.gateway.port)
    try:
        for _ in range(20):  # until every cache is filled
            await call(reader, writer, house, body)
        await asyncio.sleep(0.5)
        gc.collect()
        gc.disable()
        gc.set_debug(gc.DEBUG_SAVEALL)
        for _ in range(CALLS):
            await call(reader, writer, house, body)
        gc.collect()
        kinds = collections.Counter(f"{type(one).__module__}.{type(one).__qualname__}" for one in gc.garbage)
        found = len(gc.garbage)
    finally:
        gc.set_debug(0)
        gc.garbage.clear()
        gc.enable()
        writer.close()
    assert found < CALLS, kinds.most_common(20)  # the test's own loops are in this process too
