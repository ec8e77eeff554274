"""An upstream that costs nothing and serves all that is sold: `rabbitgw dev` talks to it until a real one is named.

Owns its routes, what they take, and the pace of a stream. It keeps no state and checks no key; it is for loopback only.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

import orjson
from aiohttp import web

from rabbitgw.dev import demo_dialects as say
from rabbitgw.dev import demo_media
from rabbitgw.dev.demo_dialects import Refused
from rabbitgw.dev.demo_words import Told, tell
from rabbitgw.dev.ports import LOOPBACK

CHAT_MODELS = ("demo-small", "demo-large")
EMBEDDING_MODELS = ("demo-embed",)
CHOICES_MAX = 2048
BODY_BYTES_MAX = 64 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Form:
    """One route. prompt: the fields that are counted as input; limits: those that limit the output."""

    answer: Callable[[Told], say.Json]
    steps: Callable[[Told], Iterator[bytes]] | None  # None: it never streams
    required: tuple[str, ...]
    prompt: tuple[str, ...]
    limits: tuple[str, ...] = ()
    models: tuple[str, ...] = CHAT_MODELS


_CHAT_LIMITS = ("max_completion_tokens", "max_tokens")
_MESSAGES = ("system", "tools", "messages")
_INPUT = ("instructions", "tools", "input")
FORMS = {
    "/v1/chat/completions": Form(
        say.chat, say.chat_steps, ("messages",), ("tools", "messages"), _CHAT_LIMITS
    ),
    "/v1/completions": Form(say.text_completion, say.text_steps, ("prompt",), ("prompt",), ("max_tokens",)),
    "/v1/responses": Form(say.response, say.response_steps, ("input",), _INPUT, ("max_output_tokens",)),
    "/v1/messages": Form(
        say.message, say.message_steps, ("max_tokens", "messages"), _MESSAGES, ("max_tokens",)
    ),
    "/v1/messages/count_tokens": Form(say.token_count, None, ("messages",), _MESSAGES),
    "/v1/embeddings": Form(say.embeddings, None, ("input",), ("input",), models=EMBEDDING_MODELS),
}


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
    for path, form in FORMS.items():
        app.router.add_post(path, partial(_serve, form, word_delay_s))
    demo_media.add_routes(app.router)
    app.router.add_get("/v1/models", _models)
    app.router.add_get("/health/liveliness", _alive)  # LiteLLM's probe
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=1)
    await runner.setup()
    await web.TCPSite(runner, host, port).start()
    return DemoUpstream(host, runner.addresses[0][1], runner)


async def _serve(form: Form, word_delay_s: float, request: web.Request) -> web.StreamResponse:
    try:
        told = _told(form, await request.read())
    except Refused as error:
        anthropic = request.path.startswith("/v1/messages")
        return _json(say.refusal(error.status, str(error), error.field, anthropic=anthropic), error.status)
    if form.steps is None or told.body.get("stream") is not True:
        return _json(form.answer(told))
    return await _stream(request, form.steps(told), word_delay_s)


def _told(form: Form, raw: bytes) -> Told:
    """Raises: Refused."""
    try:
        body = orjson.loads(raw)
    except orjson.JSONDecodeError:
        raise Refused("the body is not JSON") from None
    if not isinstance(body, dict):
        raise Refused("the body must be a JSON object")
    if body.get("model") not in form.models:
        raise Refused(f"the model {body.get('model')!r} does not exist here", "model", 404)
    for name in form.required:
        if not body.get(name):
            raise Refused(f"{name} is required and must not be empty", name)
    stated = [limit for name in form.limits if (limit := _integer(body, name)) is not None]
    choices = (_integer(body, "n") or 1) * len(say.texts_of(body.get("prompt")))
    prompt = b"".join(orjson.dumps(body[name]) for name in form.prompt if body.get(name))
    return tell(body, prompt, stated[0] if stated else None, min(choices, CHOICES_MAX))


def _integer(body: say.Json, name: str) -> int | None:
    value = body.get(name)
    if value is None or (isinstance(value, int) and not isinstance(value, bool) and value > 0):
        return value
    raise Refused(f"{name} must be an integer above 0", name)


async def _stream(request: web.Request, steps: Iterator[bytes], word_delay_s: float) -> web.StreamResponse:
    response = web.StreamResponse(headers={"content-type": "text/event-stream; charset=utf-8"})
    await response.prepare(request)
    try:
        for step in steps:
            await response.write(step)
            if word_delay_s:
                await asyncio.sleep(word_delay_s)
        await response.write_eof()
    except ConnectionError:
        pass  # the client left; there is nobody to tell
    return response


async def _models(request: web.Request) -> web.StreamResponse:
    anthropic = "anthropic-version" in request.headers
    return _json(say.models((*CHAT_MODELS, *EMBEDDING_MODELS, *demo_media.MEDIA_MODELS), anthropic=anthropic))


async def _alive(request: web.Request) -> web.StreamResponse:
    return _json("I'm alive!")


def _json(body: Any, status: int = 200) -> web.Response:
    return web.Response(body=orjson.dumps(body), status=status, content_type="application/json")
