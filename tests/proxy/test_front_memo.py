"""The same head again is not parsed again, and means the same; any other is parsed."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from rabbitgw.proxy import front_wire
from rabbitgw.proxy.front_head import Head, read_head
from tests.proxy.front_house import POST, Bare, bare, post


@pytest.fixture
def parsed(monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    """The heads that were parsed."""
    seen: list[bytes] = []

    def counting(raw: bytes) -> Head:
        seen.append(raw)
        return read_head(raw)

    monkeypatch.setattr(front_wire, "read_head", counting)
    return seen


@pytest.fixture
async def house(parsed: list[bytes]) -> AsyncIterator[Bare]:
    """Has served one request, and has a memo of its head."""
    async with bare(body_bytes_max=2000) as house:
        await house.feed(post(b"first", b"x-request-id: mine"))
        assert len(parsed) == 1
        parsed.clear()
        house.service.bodies.clear()
        yield house


def again(body: bytes) -> bytes:
    return post(body, b"x-request-id: mine")


async def test_the_same_head_is_read_by_its_length_alone(house: Bare, parsed: list[bytes]) -> None:
    for size in (1, 5, 9, 10, 99, 100, 1000, 2000):
        said = await house.feed(again(b"x" * size))
        assert said.startswith(b"HTTP/1.1 200 OK\r\n")
        assert said.endswith(b"\r\n\r\n%d" % size)
        assert house.service.bodies.pop() == b"x" * size
        assert house.service.asks[-1].caller_request_id == "mine"
        assert house.service.asks[-1].secret == "good"
    assert parsed == []


async def test_each_has_an_id_and_a_time_of_its_own(house: Bare, parsed: list[bytes]) -> None:
    await house.feed(again(b"a"))
    await house.feed(again(b"b"))
    first, second = house.service.asks[-2:]
    assert first.request_id != second.request_id
    assert parsed == []


async def test_a_body_that_comes_in_pieces_behind_a_known_head_is_read_whole(
    house: Bare, parsed: list[bytes]
) -> None:
    sent = again(b"0123456789")
    begin = len(sent) - 10
    for first in range(begin, len(sent)):
        said = await house.feed(sent[:first], sent[first:])
        assert said.endswith(b"\r\n\r\n10")
    assert house.service.bodies == [b"0123456789"] * 10
    assert parsed == []


async def test_a_known_head_that_comes_in_pieces_is_parsed_and_means_the_same(
    house: Bare, parsed: list[bytes]
) -> None:
    sent = again(b"0123456789")
    for first in range(1, len(sent) - 10):
        assert (await house.feed(sent[:first], sent[first:])).endswith(b"\r\n\r\n10")
    assert set(house.service.bodies) == {b"0123456789"}
    assert len(parsed) == len(sent) - 11


async def test_no_body_is_a_body_of_none(house: Bare, parsed: list[bytes]) -> None:
    assert (await house.feed(again(b""))).endswith(b"\r\n\r\n0")
    assert (await house.feed(again(b"").replace(b"length: 0", b"length: 00"))).endswith(b"\r\n\r\n0")
    assert parsed == []


async def test_what_follows_a_known_head_and_its_body_is_the_next_request(
    house: Bare, parsed: list[bytes]
) -> None:
    said = await house.feed(again(b"abc") + again(b"defg") + again(b"h"))
    assert said.count(b"HTTP/1.1 200 OK") == 3
    assert house.service.bodies == [b"abc", b"defg", b"h"]
    assert len(parsed) == 2  # sent ahead, they take the ordinary way


async def test_a_length_beyond_the_limit_is_refused(house: Bare) -> None:
    said = await house.feed(again(b"x" * 2001))
    assert said.startswith(b"HTTP/1.1 413 ")
    assert house.service.bodies == []
    assert (await house.feed(again(b"abc"))).startswith(
        b"HTTP/1.1 200 "
    )  # it was here, and has been passed over


@pytest.mark.parametrize(
    "length",
    [b"", b"x", b"1x", b"-1", b"+1", b" ", b"1 1", b"1,1", b"\xb2", b"0x1", b"99999999999999999999999"],
)
async def test_what_is_no_length_is_refused(house: Bare, parsed: list[bytes], length: bytes) -> None:
    said = await house.feed(again(b"").replace(b"length: 0\r\n", b"length: %b\r\n" % length))
    assert said.startswith(b"HTTP/1.1 400 ")
    assert len(parsed) == 1
    assert house.service.bodies == []


async def test_a_length_of_nine_digits_is_parsed(house: Bare, parsed: list[bytes]) -> None:
    assert (await house.feed(again(b"").replace(b"length: 0", b"length: 000000003") + b"abc")).endswith(
        b"\r\n\r\n3"
    )
    assert len(parsed) == 1


async def test_another_key_is_another_caller(house: Bare, parsed: list[bytes]) -> None:
    said = await house.feed(again(b"abc").replace(b"Bearer good", b"Bearer evil"))
    assert said.startswith(b"HTTP/1.1 401 ")
    assert (await house.feed(again(b"abc"))).startswith(b"HTTP/1.1 200 ")
    assert len(parsed) == 2
    assert house.service.bodies == [b"abc"]


OTHERS = {
    "no key": (b"authorization: Bearer good\r\n", b"", 401),
    "a field more behind the length": (b"\r\n\r\n", b"\r\nx-litellm-tags: a\r\n\r\n", 400),
    "a field more before it": (b"content-length", b"x-litellm-tags: a\r\ncontent-length", 400),
    "a second length": (b"\r\n\r\n", b"\r\ncontent-length: 3\r\n\r\n", 400),
    "chunks too": (b"\r\n\r\n", b"\r\ntransfer-encoding: chunked\r\n\r\n", 400),
    "another id": (b"id: mine", b"id: yours", 200),
    "another path": (b"/v1/chat/completions", b"/v1/chat/completion", 404),
    "another method": (b"POST", b"PUT", 405),
    "the old version": (b"HTTP/1.1", b"HTTP/1.0", 200),
    "the last": (b"\r\n\r\n", b"\r\nconnection: close\r\n\r\n", 200),
    "no field any more": (b"x-request-id: mine\r\n", b"", 200),
    "another case": (b"content-length", b"Content-Length", 200),
}


@pytest.mark.parametrize("name", OTHERS)
async def test_any_other_head_is_parsed(house: Bare, parsed: list[bytes], name: str) -> None:
    old, new, status = OTHERS[name]
    said = await house.feed(again(b"abc").replace(old, new))
    assert said.startswith(b"HTTP/1.1 %d " % status)
    assert len(parsed) == 1
    if status == 200:
        expected = {"another id": "yours", "no field any more": None}.get(name, "mine")
        assert house.service.asks[-1].caller_request_id == expected


async def test_only_calls_that_were_taken_are_remembered() -> None:
    for sent in (
        post(b"abc", b"expect: 100-continue"),
        post(b"abc", b"connection: close"),
        post(b"abc").replace(b"HTTP/1.1", b"HTTP/1.0"),
        post(b"abc").replace(b"good", b""),
        POST + b"transfer-encoding: chunked\r\n\r\n0\r\n\r\n",
        POST + b"\r\n",
        post(b"abc").replace(b"chat/completions", b"files"),
    ):
        async with bare() as house:
            await house.feed(sent)
            assert house.connection._memo is None
