"""Undoes gzip and deflate, in bounded steps: compressed bytes in, pieces of at most 64 KiB out.

We ask upstream for identity; this is for one that compresses all the same. Knows no connection and no client.
The rule that would surprise: nothing is inflated before it is asked for, because one read of 64 KiB may hold
64 MiB; who is paused simply does not call `take`.
"""

from __future__ import annotations

import zlib

from rabbitgw.errors import UpstreamGarbled

PIECE_BYTES_MAX = 64 * 1024

_GZIP = 16 + zlib.MAX_WBITS
_RAW_DEFLATE = -zlib.MAX_WBITS


class Inflater:
    """`finished` tells whether the compressed stream has come to its own end (or never began)."""

    __slots__ = ("_gzip", "_inflate", "_more", "_pending")

    def __init__(self, *, gzip: bool) -> None:
        self._gzip = gzip
        self._inflate: zlib._Decompress | None = None
        self._pending = b""
        self._more = False

    @property
    def finished(self) -> bool:
        return not self._pending and (self._inflate is None or self._inflate.eof)

    def feed(self, data: bytes) -> None:
        self._pending = self._pending + data if self._pending else data

    def take(self) -> bytes:
        """The next piece, empty when more input is needed. Raises: UpstreamGarbled."""
        try:
            while self._pending or self._more:
                piece = self._step()
                if piece:
                    return piece
        except zlib.error as error:
            raise UpstreamGarbled(f"upstream: the compressed body is damaged ({error})") from None
        return b""

    def _step(self) -> bytes:
        inflate = self._inflate
        if inflate is None or inflate.eof:
            if inflate is not None and not self._gzip:
                raise UpstreamGarbled("upstream: bytes beyond the end of the compressed body")
            # Gzip may be several members in a row, each with a header of its own.
            inflate = self._inflate = zlib.decompressobj(self._window_bits())
        piece = inflate.decompress(self._pending, PIECE_BYTES_MAX)
        self._pending = inflate.unused_data if inflate.eof else inflate.unconsumed_tail
        # A full piece may have left output inside zlib with no input left over.
        self._more = len(piece) == PIECE_BYTES_MAX and not inflate.eof
        return piece

    def _window_bits(self) -> int:
        """`deflate` means zlib's framing, but some servers send it bare: the first byte tells."""
        if self._gzip:
            return _GZIP
        first = self._pending[0]
        return zlib.MAX_WBITS if first & 0x0F == zlib.DEFLATED and first >> 4 <= 7 else _RAW_DEFLATE


def inflater_for(coding: bytes) -> Inflater | None:
    """What undoes a Content-Encoding; None where there is nothing to undo.

    Raises: UpstreamGarbled for a coding that we cannot undo.
    """
    coding = coding.strip().lower()
    if coding in (b"", b"identity"):
        return None
    if coding in (b"gzip", b"x-gzip"):
        return Inflater(gzip=True)
    if coding == b"deflate":
        return Inflater(gzip=False)
    raise UpstreamGarbled(f"upstream: content-encoding {coding[:40]!r}, although identity was asked for")
