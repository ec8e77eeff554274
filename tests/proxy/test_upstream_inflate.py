from __future__ import annotations

import gzip
import random
import zlib

import pytest

from rabbitgw.errors import UpstreamGarbled
from rabbitgw.proxy.upstream_inflate import PIECE_BYTES_MAX, inflater_for

PLAIN = b'data: {"n":1}\n\n' * 300 + random.Random(7).randbytes(5000)


def bare_deflate(data: bytes) -> bytes:
    squeeze = zlib.compressobj(wbits=-15)
    return squeeze.compress(data) + squeeze.flush()


CODED = {
    "gzip": (b"gzip", gzip.compress(PLAIN)),
    "gzip of two members": (b"x-gzip", gzip.compress(PLAIN[:100]) + gzip.compress(PLAIN[100:])),
    "deflate": (b" Deflate ", zlib.compress(PLAIN)),
    "bare deflate": (b"deflate", bare_deflate(PLAIN)),
}


def inflated(coding: bytes, *reads: bytes) -> tuple[bytes, bool]:
    inflater = inflater_for(coding)
    assert inflater is not None
    plain = b""
    for read in reads:
        inflater.feed(read)
        while piece := inflater.take():
            assert len(piece) <= PIECE_BYTES_MAX
            plain += piece
    return plain, inflater.finished


@pytest.mark.parametrize("name", list(CODED))
def test_any_split_inflates_to_the_same(name: str) -> None:
    coding, data = CODED[name]
    assert inflated(coding, data) == (PLAIN, True)
    assert inflated(coding, *[data[at : at + 1] for at in range(len(data))]) == (PLAIN, True)
    for at in [*range(1, 40), *range(40, len(data), 97)]:
        assert inflated(coding, data[:at], data[at:]) == (PLAIN, True), at


def test_a_stream_flushed_per_event_comes_event_by_event() -> None:
    squeeze = zlib.compressobj(wbits=31)
    inflater = inflater_for(b"gzip")
    assert inflater is not None
    for n in range(5):
        event = b"data: %d\n\n" % n
        inflater.feed(squeeze.compress(event) + squeeze.flush(zlib.Z_SYNC_FLUSH))
        assert inflater.take() == event
        assert not inflater.finished


def test_a_bomb_comes_in_bounded_pieces_and_only_when_asked() -> None:
    bomb = gzip.compress(b"\0" * 20_000_000)
    assert len(bomb) < PIECE_BYTES_MAX
    plain, finished = inflated(b"gzip", bomb)
    assert (len(plain), finished) == (20_000_000, True)


@pytest.mark.parametrize("name", list(CODED))
def test_a_cut_body_is_not_finished(name: str) -> None:
    coding, data = CODED[name]
    assert not inflated(coding, data[:-1])[1]


def test_an_empty_body_is_finished() -> None:
    assert inflated(b"gzip") == (b"", True)


@pytest.mark.parametrize(
    ("coding", "data"),
    [
        (b"gzip", b"plain text"),
        (b"gzip", gzip.compress(b"x") + b"trailing"),
        (b"deflate", zlib.compress(b"x") + b"trailing"),
        (b"gzip", gzip.compress(PLAIN)[:-8] + b"12345678"),
    ],
)
def test_damaged_bytes_are_upstreams_fault(coding: bytes, data: bytes) -> None:
    with pytest.raises(UpstreamGarbled):
        inflated(coding, data)


@pytest.mark.parametrize("coding", [b"br", b"zstd", b"gzip, gzip", b"compress", b"\xff"])
def test_a_coding_we_cannot_undo_is_refused(coding: bytes) -> None:
    with pytest.raises(UpstreamGarbled):
        inflater_for(coding)


@pytest.mark.parametrize("coding", [b"", b"identity", b" Identity "])
def test_identity_needs_nothing(coding: bytes) -> None:
    assert inflater_for(coding) is None
