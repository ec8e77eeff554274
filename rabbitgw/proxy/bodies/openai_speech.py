"""Bodies of speech: a text in, sound out, as bytes or as events.

How long the sound is nobody says beforehand, and of plain bytes nobody afterwards: where the price is by time or by
token, it is told from the text. Fifteen bytes a second is usual in English and, with more bytes a character, elsewhere.
Source: openai-python types/audio/speech_create_params.py.
"""

from __future__ import annotations

from typing import Any, Final

from rabbitgw.billing.wanted import Wanted
from rabbitgw.errors import RequestInvalid
from rabbitgw.money import ceil_div
from rabbitgw.proxy.bodies.shape import Shape
from rabbitgw.proxy.call import Call, check_size, only_fields, optional, stored_object

TEXT_CHARS_MAX: Final = 32_000
SPOKEN_BYTES_PER_S: Final = 15
SLOWEST_BYTES_PER_S: Final = 4
PAUSE_MS_MAX: Final = 2_000  # before and behind the words
SPEED_MIN, SPEED_MAX = 0.25, 4.0
_MILLI: Final = 1000
_STREAM_FORMATS: Final = ("sse", "audio")
_KNOWN: Final = frozenset(
    {"model", "input", "voice", "instructions", "response_format", "speed", "stream_format"}
)


def read_speech(call: Call) -> None:
    body = call.body
    check_size(call)
    only_fields(body, _KNOWN)
    text = body.get("input")
    if not isinstance(text, str) or not 0 < len(text) <= TEXT_CHARS_MAX:
        raise RequestInvalid(f"input: a text of 1 to {TEXT_CHARS_MAX} characters is required", field="input")
    if isinstance(body.get("voice"), dict):
        raise stored_object("voice")
    instructions = optional(body, "instructions", str) or ""
    form = optional(body, "stream_format", str)
    if form is not None and form not in _STREAM_FORMATS:
        raise RequestInvalid(
            f"stream_format: must be one of {', '.join(_STREAM_FORMATS)}", field="stream_format"
        )
    call.stream = form == "sse"
    spoken_bytes, speed_milli = _size(text), _speed_milli(body.get("speed"))
    call.wanted = Wanted(
        characters=len(text),
        text_bytes=spoken_bytes + _size(instructions),
        audio_ms=ceil_div(spoken_bytes * _MILLI * _MILLI, SPOKEN_BYTES_PER_S * speed_milli),
        audio_ms_max=ceil_div(spoken_bytes * _MILLI * _MILLI, SLOWEST_BYTES_PER_S * speed_milli)
        + PAUSE_MS_MAX,
    )


def _speed_milli(speed: Any) -> int:
    """Raises: RequestInvalid."""
    if speed is None:
        return _MILLI
    if isinstance(speed, bool) or not isinstance(speed, int | float) or not SPEED_MIN <= speed <= SPEED_MAX:
        raise RequestInvalid(f"speed: must be a number from {SPEED_MIN} to {SPEED_MAX}", field="speed")
    return int(speed * _MILLI)


def _size(text: str) -> int:
    return len(text.encode("utf-8", "surrogatepass"))


def mark_nothing(call: Call, user: str, request_id: str) -> None:
    """This API has no field for either: our id goes up in a header alone."""
    del call, user, request_id


SPEECH_BODY: Final = Shape(_KNOWN, read_speech, mark_nothing)
