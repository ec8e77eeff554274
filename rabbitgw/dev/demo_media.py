"""What the demo upstream makes of prompts and hears in files: an image, a tone, and what it says it heard.

Everything is as small as it can be and yet what it claims to be: a PNG of one pixel, a WAV of silence, a transcript
that states how many seconds it has heard. Keeps no state and checks no key, as the rest of the demo upstream.
Source: openai-python types/images_response.py, types/audio/transcription*.py.
"""

from __future__ import annotations

import base64
import io
import struct
import wave
import zlib
from typing import Any

import orjson
from aiohttp import web

from rabbitgw.dev.demo_dialects import CREATED, Json, Refused, event, refusal
from rabbitgw.dev.demo_words import STORY

IMAGE_MODELS = ("demo-image",)
SPEECH_MODELS = ("demo-speech",)
HEARING_MODELS = ("demo-ears",)
MEDIA_MODELS = (*IMAGE_MODELS, *SPEECH_MODELS, *HEARING_MODELS)
CHARACTERS_PER_S = 15
SAMPLES_PER_S = 8_000
SAMPLE_BYTES = 2
IMAGES_MAX = 10
FILE_BYTES_PER_S = 16_000  # of a file that is no WAV: mp3 at 128 kbit/s


def add_routes(router: web.UrlDispatcher) -> None:
    for path, serve in ROUTES.items():
        router.add_post(path, serve)


async def images(request: web.Request) -> web.StreamResponse:
    try:
        body = orjson.loads(await request.read())
        _model(body, IMAGE_MODELS)
        return _json(_images(body.get("n") or 1))
    except (Refused, orjson.JSONDecodeError, AttributeError) as error:
        return _refused(error)


async def edits(request: web.Request) -> web.StreamResponse:
    try:
        form = dict(await request.post())
        _model(form, IMAGE_MODELS)
        return _json(_images(int(str(form.get("n", 1)))))
    except (Refused, ValueError) as error:
        return _refused(error)


async def speech(request: web.Request) -> web.StreamResponse:
    try:
        body = orjson.loads(await request.read())
        _model(body, SPEECH_MODELS)
        if not body.get("input"):
            raise Refused("input is required and must not be empty", "input")
    except (Refused, orjson.JSONDecodeError, AttributeError) as error:
        return _refused(error)
    sound = silence(1 + len(body["input"]) // CHARACTERS_PER_S)
    if body.get("stream_format") != "sse":
        return web.Response(body=sound, content_type="audio/wav")
    usage = {"input_tokens": len(body["input"]) // 4 + 1, "output_tokens": 20}
    usage["total_tokens"] = usage["input_tokens"] + usage["output_tokens"]
    piece = event({"type": "speech.audio.delta", "audio": base64.b64encode(sound).decode()})
    done = event({"type": "speech.audio.done", "usage": usage})
    return web.Response(body=piece + done, content_type="text/event-stream")


async def hear(request: web.Request) -> web.StreamResponse:
    try:
        form = dict(await request.post())
        _model(form, HEARING_MODELS)
        file = form.get("file")
        if not isinstance(file, web.FileField):
            raise Refused("file is required", "file")
        seconds = seconds_of(file.file.read())
    except Refused as error:
        return _refused(error)
    said: Json = {"text": STORY, "usage": {"type": "duration", "seconds": seconds}}
    if form.get("response_format") == "verbose_json":
        said |= {"task": "transcribe", "language": "english", "duration": float(seconds), "segments": []}
    if form.get("response_format") == "text":
        return web.Response(text=STORY)
    return _json(said)


ROUTES = {
    "/v1/images/generations": images,
    "/v1/images/edits": edits,
    "/v1/audio/speech": speech,
    "/v1/audio/transcriptions": hear,
    "/v1/audio/translations": hear,
}


def silence(seconds: int) -> bytes:
    file = io.BytesIO()
    with wave.open(file, "wb") as out:
        out.setnchannels(1)
        out.setsampwidth(SAMPLE_BYTES)
        out.setframerate(SAMPLES_PER_S)
        out.writeframes(bytes(SAMPLES_PER_S * SAMPLE_BYTES * seconds))
    return file.getvalue()


def seconds_of(data: bytes) -> int:
    """How long a file of sound is, in whole seconds, one at least."""
    try:
        with wave.open(io.BytesIO(data)) as sound:
            frames, rate = int(sound.getnframes()), int(sound.getframerate())
            return max(1, -(-frames // rate))
    except (wave.Error, EOFError):
        return 1 + len(data) // FILE_BYTES_PER_S


def pixel() -> bytes:
    """A PNG of one grey pixel."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    head = struct.pack(">IIBBBBB", 1, 1, 8, 0, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", head)
        + chunk(b"IDAT", zlib.compress(b"\x00\x80"))
        + chunk(b"IEND", b"")
    )


def _images(count: Any) -> Json:
    if not isinstance(count, int) or not 0 < count <= IMAGES_MAX:
        raise Refused(f"n must be an integer from 1 to {IMAGES_MAX}", "n")
    data = [{"b64_json": base64.b64encode(pixel()).decode()} for _ in range(count)]
    return {"created": CREATED, "data": data}


def _model(body: Json, models: tuple[str, ...]) -> None:
    if body.get("model") not in models:
        raise Refused(f"the model {body.get('model')!r} does not exist here", "model", 404)


def _json(body: Json) -> web.Response:
    return web.Response(body=orjson.dumps(body), content_type="application/json")


def _refused(error: Exception) -> web.Response:
    known = error if isinstance(error, Refused) else Refused("the body cannot be read")
    said = refusal(known.status, str(known), known.field, anthropic=False)
    return web.Response(body=orjson.dumps(said), status=known.status, content_type="application/json")
