"""An OpenAI-compatible upstream that costs nothing: what `rabbitgw dev` talks to until a real one is named.

The same request gets the same words. One word is one token, so a bill can be checked by counting words.
It keeps no state and checks no key; it is for loopback only.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import orjson
from aiohttp import web

from rabbitgw.dev.ports import LOOPBACK

CHAT_MODELS = ("demo-small", "demo-large")
EMBEDDING_MODEL = "demo-embedding"
CREATED = 1_763_600_000  # a fixed time keeps answers equal
STORY = (
    "a rabbit counts every carrot before it hops and after it lands so that the burrow knows "
    "what the clover cost who ate it and how many leaves are left for tomorrow"
)
WORDS = STORY.split()
TOKENS_DEFAULT = 48
TOKENS_MAX = 16_384
CHOICES_MAX = 16
DIMENSIONS = 8
BODY_BYTES_MAX = 64 * 1024 * 1024
BYTES_PER_TOKEN = 4


@dataclass(frozen=True, slots=True)
class DemoUpstream:
    host: str
    port: int
    runner: web.AppRunner

    @property
    def base_url(self) -> str:
        """Without /v1, as LITELLM_BASE_URL is."""
        return f"http://{self.host}:{self.port}"

    async def stop(self) -> None:
        await self.runner.cleanup()


async def start_demo_upstream(
    host: str = LOOPBACK, port: int = 0, *, word_delay_s: float = 0.0
) -> DemoUpstream:
    """Serve in the running loop until `stop()`. Port 0 takes a free one."""
    app = web.Application(client_max_size=BODY_BYTES_MAX)
    app[_WORD_DELAY_S] = word_delay_s
    app.router.add_get("/v1/models", _models)
    app.router.add_post("/v1/chat/completions", _chat)
    app.router.add_post("/v1/completions", _completions)
    app.router.add_post("/v1/embeddings", _embeddings)
    app.router.add_get("/health/liveliness", _alive)  # LiteLLM's probe
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=1)
    await runner.setup()
    await web.TCPSite(runner, host, port).start()
    return DemoUpstream(host, runner.addresses[0][1], runner)


_WORD_DELAY_S = web.AppKey("word_delay_s", float)


class _Asked:
    """What a request asks for, read once."""

    def __init__(self, body: dict[str, Any], prompt: bytes, *, chat: bool) -> None:
        asked = _integer(body, "max_completion_tokens") or _integer(body, "max_tokens") or TOKENS_DEFAULT
        self.model: str = body["model"]
        self.chat = chat
        self.tokens = max(1, min(asked, TOKENS_MAX))
        self.choices = max(1, min(_integer(body, "n") or 1, CHOICES_MAX))
        self.stream = body.get("stream") is True
        self.states_usage = body.get("stream_options") == {"include_usage": True}
        # An answer of its own length ends by itself; a lower max_tokens cuts it.
        digest = hashlib.sha256(prompt).digest()
        self.offset = digest[0]
        self.finish_reason = "length" if self.tokens < TOKENS_DEFAULT else "stop"
        input_tokens = max(1, len(prompt) // BYTES_PER_TOKEN)
        output_tokens = self.tokens * self.choices
        self.id = f"{'chatcmpl' if chat else 'cmpl'}-{digest[1:9].hex()}"
        self.usage = {
            "prompt_tokens": input_tokens,
            "completion_tokens": output_tokens,
            "total_tokens": input_tokens + output_tokens,
        }

    def words(self) -> Iterator[str]:
        for place in range(self.tokens):
            word = WORDS[(self.offset + place) % len(WORDS)]
            yield word if place == 0 else f" {word}"

    def frame(self, choices: list[dict[str, Any]], *, chunk: bool = False) -> dict[str, Any]:
        kind = "text_completion" if not self.chat else "chat.completion.chunk" if chunk else "chat.completion"
        return {"id": self.id, "object": kind, "created": CREATED, "model": self.model, "choices": choices}


async def _chat(request: web.Request) -> web.StreamResponse:
    body = await _body(request, CHAT_MODELS)
    messages = body.get("messages")
    if not isinstance(messages, list) or not messages:
        raise _refusal(400, "messages must be a list that is not empty")
    return await _complete(request, _Asked(body, orjson.dumps(messages), chat=True))


async def _completions(request: web.Request) -> web.StreamResponse:
    body = await _body(request, CHAT_MODELS)
    return await _complete(request, _Asked(body, orjson.dumps(body.get("prompt", "")), chat=False))


async def _complete(request: web.Request, asked: _Asked) -> web.StreamResponse:
    if asked.stream:
        return await _stream(request, asked)
    text = "".join(asked.words())
    content = {"message": {"role": "assistant", "content": text}} if asked.chat else {"text": text}
    choices = [
        {"index": index, **content, "logprobs": None, "finish_reason": asked.finish_reason}
        for index in range(asked.choices)
    ]
    return _json(asked.frame(choices) | {"usage": asked.usage})


async def _stream(request: web.Request, asked: _Asked) -> web.StreamResponse:
    response = web.StreamResponse(headers={"content-type": "text/event-stream; charset=utf-8"})
    await response.prepare(request)
    word_delay_s = request.app[_WORD_DELAY_S]
    try:
        for place, word in enumerate(asked.words()):
            for index in range(asked.choices):
                await _send(response, asked, [_piece(asked, index, word, None, first=place == 0)])
            if word_delay_s:
                await asyncio.sleep(word_delay_s)
        for index in range(asked.choices):
            await _send(response, asked, [_piece(asked, index, None, asked.finish_reason)])
        if asked.states_usage:
            await _send(response, asked, [], usage=asked.usage)
        await response.write(b"data: [DONE]\n\n")
        await response.write_eof()
    except ConnectionError:
        pass  # the client left; there is nobody to tell
    return response


def _piece(
    asked: _Asked, index: int, word: str | None, finish_reason: str | None, *, first: bool = False
) -> dict[str, Any]:
    content: dict[str, Any]
    if asked.chat:
        role = {"role": "assistant"} if first else {}
        content = {"delta": role if word is None else {**role, "content": word}}
    else:
        content = {"text": word or ""}
    return {"index": index, **content, "logprobs": None, "finish_reason": finish_reason}


async def _send(
    response: web.StreamResponse,
    asked: _Asked,
    choices: list[dict[str, Any]],
    *,
    usage: dict[str, int] | None = None,
) -> None:
    frame = asked.frame(choices, chunk=True)
    if asked.states_usage:
        frame["usage"] = usage
    await response.write(b"data: " + orjson.dumps(frame) + b"\n\n")


async def _embeddings(request: web.Request) -> web.StreamResponse:
    body = await _body(request, (EMBEDDING_MODEL,))
    given = body.get("input", "")
    texts = given if isinstance(given, list) and given and isinstance(given[0], str | list) else [given]
    prompts = [orjson.dumps(text) for text in texts]
    tokens = sum(max(1, len(prompt) // BYTES_PER_TOKEN) for prompt in prompts)
    data = [
        {"object": "embedding", "index": index, "embedding": _vector(prompt)}
        for index, prompt in enumerate(prompts)
    ]
    usage = {"prompt_tokens": tokens, "total_tokens": tokens}
    return _json({"object": "list", "data": data, "model": body["model"], "usage": usage})


def _vector(prompt: bytes) -> list[float]:
    return [(byte - 128) / 128 for byte in hashlib.sha256(prompt).digest()[:DIMENSIONS]]


async def _models(request: web.Request) -> web.StreamResponse:
    names = (*CHAT_MODELS, EMBEDDING_MODEL)
    models = [{"id": name, "object": "model", "created": CREATED, "owned_by": "rabbitgw"} for name in names]
    return _json({"object": "list", "data": models})


async def _alive(request: web.Request) -> web.StreamResponse:
    return _json("I'm alive!")


async def _body(request: web.Request, models: tuple[str, ...]) -> dict[str, Any]:
    """The JSON object of a request. Raises: an HTTP error in OpenAI's form."""
    try:
        body = orjson.loads(await request.read())
    except orjson.JSONDecodeError:
        raise _refusal(400, "the body is not JSON") from None
    if not isinstance(body, dict):
        raise _refusal(400, "the body must be a JSON object")
    if body.get("model") not in models:
        raise _refusal(404, f"the model {body.get('model')!r} does not exist here", code="model_not_found")
    return body


def _integer(body: dict[str, Any], name: str) -> int | None:
    value = body.get(name)
    if value is None or (isinstance(value, int) and not isinstance(value, bool)):
        return value
    raise _refusal(400, f"{name} must be an integer")


def _refusal(status: int, message: str, *, code: str | None = None) -> web.HTTPException:
    error = {"message": message, "type": "invalid_request_error", "param": None, "code": code}
    kind = web.HTTPNotFound if status == 404 else web.HTTPBadRequest
    return kind(text=orjson.dumps({"error": error}).decode(), content_type="application/json")


def _json(body: Any) -> web.Response:
    return web.Response(body=orjson.dumps(body), content_type="application/json")
