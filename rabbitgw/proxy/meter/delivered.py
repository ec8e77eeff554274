"""How much output was delivered, without parsing it, and a small sample of it for a better estimate.

Owns the running estimate that decides when a hold must grow: one token per event plus one per four bytes beyond
the smallest event of the stream, or beyond a short event as the first ones show it, where all are large: providers that
send several tokens at once often send pieces of one size. Base64 of audio and images has a measure of its own. Knows no
JSON and no dialect.
"""

from __future__ import annotations

from typing import Final

from rabbitgw.proxy.meter.estimate import MEDIA_BYTES_PER_TOKEN, TEXT_BYTES_PER_TOKEN, OutputSample

SAMPLE_BYTES_MAX: Final = 16_384  # kept per stream; about sixty events, thousands of streams are open at once
MEASURED_EVENTS: Final = 3  # the first may say more than the others: a role, a name
FRAME_BYTES_MAX: Final = 1024  # what surrounds the text of an event, at most: a first event may be all text


class Delivered:
    """Sizes are bytes as streamed, with what surrounds the text."""

    __slots__ = (
        "_bytes",
        "_events",
        "_frame",
        "_measured",
        "_media_bytes",
        "_media_events",
        "_sample",
        "_sampled",
        "_sampled_events",
    )

    def __init__(self) -> None:
        self._events = 0  # that carried text
        self._bytes = 0  # of those
        # bytes of the smallest of those, or of one with a token's worth of text, as far as measured
        self._frame = FRAME_BYTES_MAX
        self._measured = 0
        self._media_events = 0
        self._media_bytes = 0
        self._sample: list[bytes] = []
        self._sampled = 0
        self._sampled_events = 0

    def add_piece(self, piece: bytes, events: int) -> int:
        """A piece of `events` whole text events, each ended by two LF. Returns: `tokens`, with these."""
        size = len(piece)
        self._events = all_events = self._events + events
        self._bytes = all_bytes = self._bytes + size
        least = size if events == 1 else 2 + min(map(len, piece.split(b"\n\n")[:-1]))
        if least < self._frame:  # noqa: PLR1730  min would be a call for each chunk
            self._frame = least
        if self._sampled + size <= SAMPLE_BYTES_MAX:
            self._sample.append(piece)
            self._sampled += size
            self._sampled_events += events
        if self._media_events:
            return self.tokens()
        return all_events + (all_bytes - all_events * self._frame) // TEXT_BYTES_PER_TOKEN

    def add_event(self, data: bytes, size: int, *, large: bool) -> None:
        """One text event."""
        self._events += 1
        self._bytes += size
        self._frame = min(self._frame, size)
        if not large and self._sampled + size <= SAMPLE_BYTES_MAX:
            self._sample.append(b"data:" + data.replace(b"\n", b"\ndata:") + b"\n\n")
            self._sampled += size
            self._sampled_events += 1

    @property
    def is_measured(self) -> bool:
        """Enough events have been shown to `measure`; all go by the way that shows them until then."""
        return self._measured >= MEASURED_EVENTS

    def measure(self, size: int, text_bytes: int) -> None:
        """One text event, of which this much is text."""
        self._measured += 1
        self._frame = min(self._frame, max(size - text_bytes, 0) + TEXT_BYTES_PER_TOKEN)

    def add_media(self, size: int) -> None:
        """One event of base64."""
        self._media_events += 1
        self._media_bytes += size

    def tokens(self, *, text_under_way: int = 0, media_under_way: int = 0) -> int:
        """The estimate so far, with the bytes of a large event that has not ended yet."""
        text_bytes = self._bytes - self._events * self._frame + text_under_way
        media_bytes = self._media_bytes + media_under_way
        return (
            self._events
            + max(text_bytes, 0) // TEXT_BYTES_PER_TOKEN
            + self._media_events
            + media_bytes // MEDIA_BYTES_PER_TOKEN
        )

    def sample(self, dialect: str) -> OutputSample:
        return OutputSample(
            dialect=dialect,
            stream=b"".join(self._sample),
            sampled_bytes=self._sampled,
            sampled_events=self._sampled_events,
            total_bytes=self._bytes,
            total_events=self._events,
            media_bytes=self._media_bytes,
        )
