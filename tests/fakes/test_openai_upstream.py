"""The fake must do what its scripts say, or the tests that rest on it prove nothing."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable

import aiohttp
import pytest

from tests.fakes.openai_upstream import HTML, Answer, Drop, FakeUpstream, Hang, Raw, Refuse, usage

ASK = {"model": "fake-gpt", "messages": [{"role": "user", "content": "hi"}]}


async def post(
    upstream: FakeUpstream, path: str = "/v1/chat/completions", **body: object
) -> tuple[int, bytes]:
    async with (
        aiohttp.ClientSession() as session,
        session.post(upstream.base_url + path, json={**ASK, **body}) as response,
    ):
        return response.status, await response.read()


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(30):
        while not condition():
            await asyncio.sleep(0.01)


def data_of(body: bytes) -> list[str]:
    return [part.removeprefix("data: ") for part in body.decode().split("\n\n") if part]


async def test_a_stream_states_usage_only_when_asked(upstream: FakeUpstream) -> None:
    upstream.script("fake-gpt", Answer(chunks=("a", "b"), usage=usage(3, 2)))
    _, silent = await post(upstream, stream=True)
    _, stated = await post(upstream, stream=True, stream_options={"include_usage": True})
    assert b"usage" not in silent
    *events, last, done = data_of(stated)
    assert done == "[DONE]"
    assert [json.loads(event)["usage"] for event in events] == [None, None, None]
    assert json.loads(last)["choices"] == []
    assert json.loads(last)["usage"] == {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5}


async def test_usage_none_is_never_stated(upstream: FakeUpstream) -> None:
    upstream.script("fake-gpt", Answer(usage=None))
    _, stream = await post(upstream, stream=True, stream_options={"include_usage": True})
    _, plain = await post(upstream)
    assert b"usage" not in stream
    assert b"usage" not in plain


async def test_scripts_are_used_in_turn_and_the_last_repeats(upstream: FakeUpstream) -> None:
    upstream.script("fake-gpt", Refuse(429, headers={"retry-after": "7"}), HTML, Answer(("ok",)))
    assert [(await post(upstream))[0] for _ in range(4)] == [429, 502, 200, 200]


async def test_requests_are_remembered_whole(upstream: FakeUpstream) -> None:
    await post(upstream, temperature=0.5)
    (request,) = upstream.of("fake-gpt")
    await until(lambda: request.finished)
    assert (request.method, request.path) == ("POST", "/v1/chat/completions")
    assert request.json == {**ASK, "temperature": 0.5}
    assert request.header("content-type") == "application/json"
    assert not request.client_left


@pytest.mark.parametrize("fault", [Answer(cut_after=2), Answer(cut_after=0), Raw([b"data: {"], cut=True)])
async def test_a_cut_ends_the_body_midway(upstream: FakeUpstream, fault: Answer | Raw) -> None:
    upstream.script("fake-gpt", fault)
    with pytest.raises(aiohttp.ClientPayloadError):
        await post(upstream, stream=True)


async def test_drop_answers_nothing(upstream: FakeUpstream) -> None:
    upstream.script("fake-gpt", Drop())
    with pytest.raises(aiohttp.ServerDisconnectedError):
        await post(upstream)


@pytest.mark.parametrize("fault", [Hang(), Answer(hang_after=1)])
async def test_a_client_that_leaves_is_seen(upstream: FakeUpstream, fault: Hang | Answer) -> None:
    upstream.script("fake-gpt", fault)
    call = asyncio.create_task(post(upstream, stream=True))
    await until(lambda: bool(upstream.requests))
    call.cancel()
    await until(lambda: upstream.requests[0].client_left)
    assert not upstream.requests[0].finished


async def test_a_client_that_does_not_read_holds_the_stream_back(upstream: FakeUpstream) -> None:
    upstream.script("fake-gpt", Answer(chunks=["x" * 10_000] * 3_000))
    reader, writer = await asyncio.open_connection("127.0.0.1", upstream.port, limit=1024)
    body = json.dumps({**ASK, "stream": True}).encode()
    writer.write(
        b"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\ncontent-length: %d\r\n\r\n" % len(body) + body
    )
    await reader.readline()
    sent = -1
    while sent != upstream.requests[0].bytes_sent:
        sent = upstream.requests[0].bytes_sent
        await asyncio.sleep(0.3)
    assert 0 < sent < 30_000_000
    assert not upstream.requests[0].finished
    writer.close()
    await writer.wait_closed()
    await until(lambda: upstream.requests[0].client_left)


async def test_raw_bytes_arrive_as_they_are(upstream: FakeUpstream) -> None:
    body = b"data: \xc3\xa4\r\ndata: [DO\n\nNE]\n\n"
    upstream.script(
        "fake-gpt", Raw.split(body, 7, 3), Raw([body], framing="close"), Raw([body], framing="length")
    )
    assert [await post(upstream) for _ in range(3)] == [(200, body)] * 3


async def test_an_error_event_ends_the_stream(upstream: FakeUpstream) -> None:
    upstream.script("fake-gpt", Answer(fail_after=1))
    _, body = await post(upstream, stream=True)
    assert "error" in json.loads(data_of(body)[-1])
