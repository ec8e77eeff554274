"""Forms of transcriptions and translations: a file of sound in, text out.

How long the sound is, only the answer says. The file bounds it: by its rate where it is plain PCM in a WAV, whose rate
nobody can misstate without changing how long it is; else by its bytes, at a rate that no sound is below (a setting).
Source: openai-python types/audio/{transcription,translation}_create_params.py.
"""

from __future__ import annotations

import io
import wave
from typing import Final

from rabbitgw.billing.wanted import Wanted
from rabbitgw.errors import RequestInvalid
from rabbitgw.money import ceil_div
from rabbitgw.proxy.bodies.form import Part, files_of
from rabbitgw.proxy.call import Call, only_fields

PROMPT_CHARS_MAX: Final = 32_000
HEAD_BYTES: Final = 4096  # of a WAV, up to its data
PCM_BYTES_PER_S_MAX: Final = 768_000  # 96 kHz, two channels, 32 bit
_TRUTHS: Final = {"true": True, "false": False}
_TRANSLATION: Final = frozenset({"model", "file", "prompt", "response_format", "temperature"})
_TRANSCRIPTION: Final = _TRANSLATION | {
    *("language", "stream", "timestamp_granularities[]", "include[]", "chunking_strategy"),
    *("known_speaker_names[]", "known_speaker_references[]"),
}


def read_transcription(call: Call, parts: list[Part]) -> None:
    """Raises: RequestInvalid naming the field."""
    _read(call, parts, _TRANSCRIPTION)
    stream = call.body.get("stream")
    if stream is not None and stream not in _TRUTHS:
        raise RequestInvalid("stream: must be true or false", field="stream")
    call.stream = _TRUTHS.get(stream or "false", False)


def read_translation(call: Call, parts: list[Part]) -> None:
    """Raises: RequestInvalid naming the field."""
    _read(call, parts, _TRANSLATION)


def _read(call: Call, parts: list[Part], known: frozenset[str]) -> None:
    only_fields(dict.fromkeys(part.name for part in parts), known)
    files = files_of(parts, "file")
    if not files or not files[0].data:
        raise RequestInvalid("file: a file of sound is required", field="file")
    prompt = call.body.get("prompt", "")
    if len(prompt) > PROMPT_CHARS_MAX:
        raise RequestInvalid(f"prompt: at most {PROMPT_CHARS_MAX} characters", field="prompt")
    spoken: list[str] = call.body.get("known_speaker_references[]", [])
    call.media_bytes = len(files[0].data) + sum(map(len, spoken))
    known_ms = pcm_ms(files[0].data)
    call.wanted = Wanted(
        text_bytes=len(prompt.encode()),
        audio_ms=known_ms,
        audio_ms_max=known_ms,
        audio_bytes=sum(map(len, spoken)) if known_ms else call.media_bytes,
        hears=True,
    )


def pcm_ms(data: bytes) -> int:
    """How long a WAV of plain PCM is, all of its bytes taken for sound; 0 for everything else."""
    try:
        with wave.open(io.BytesIO(data[:HEAD_BYTES])) as sound:
            rate = sound.getframerate() * sound.getnchannels() * sound.getsampwidth()
    except (wave.Error, EOFError, ValueError):
        return 0
    return ceil_div(len(data) * 1000, min(rate, PCM_BYTES_PER_S_MAX)) if rate > 0 else 0
