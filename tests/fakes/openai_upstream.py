"""A scripted upstream that speaks as OpenAI and Anthropic do: answers, stalls, cuts and lies, remembers what it got.

Runs in a thread with a loop of its own, so that one instance serves a whole test run, LiteLLM included.
A test scripts it by model name: the scripts of a model are used one after the other, the last one again and
again. One script serves every route of ROUTES. A chat stream carries its usage chunk only if the request asked for
it, as OpenAI's do.
"""

from __future__ import annotations

import asyncio
import threading
from typing import Any

from tests.fakes.upstream_chat import CHAT, COMPLETIONS, EMBEDDINGS, openai_refusal
from tests.fakes.upstream_messages import COUNT_TOKENS, MESSAGES, anthropic_refusal
from tests.fakes.upstream_responses import INPUT_TOKENS, RESPONSES
from tests.fakes.upstream_scripts import (
    CREATED,
    HTML,
    SSE,
    Answer,
    Drop,
    Hang,
    Raw,
    Refuse,
    Route,
    Script,
    ToolCall,
    usage,
)
from tests.fakes.upstream_wire import Cut, Out, Received, left, read_request, reset_on_close

__all__ = [
    "HTML",
    "Answer",
    "Drop",
    "FakeUpstream",
    "Hang",
    "Raw",
    "Received",
    "Refuse",
    "Script",
    "ToolCall",
    "usage",
]

ROUTES = {
    "/v1/chat/completions": CHAT,
    "/v1/completions": COMPLETIONS,
    "/v1/responses": RESPONSES,
    "/v1/responses/input_tokens": INPUT_TOKENS,
    "/v1/messages": MESSAGES,
    "/v1/messages/count_tokens": COUNT_TOKENS,
    "/v1/embeddings": EMBEDDINGS,
}
MODELS = "/v1/models"


class FakeUpstream:
    """`with FakeUpstream() as upstream:`; `script()` says what a model answers, `requests` what came."""

    def __init__(self) -> None:
        self.requests: list[Received] = []
        self.connections = 0  # accepted since the last reset
        self._scripts: dict[str, list[Script]] = {}
        self._busy: set[asyncio.Task[None]] = set()
        self._open: set[asyncio.Task[None]] = set()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="fake-upstream", daemon=True)

    # -- what tests call, from any thread

    def __enter__(self) -> FakeUpstream:
        self._thread.start()
        self._server = self._do(asyncio.start_server(self._serve, "127.0.0.1", 0, limit=64 * 1024 * 1024))
        self.port: int = self._server.sockets[0].getsockname()[1]
        return self

    def __exit__(self, *_: object) -> None:
        self._do(self._close())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    @property
    def base_url(self) -> str:
        """Without /v1."""
        return f"http://127.0.0.1:{self.port}"

    def script(self, model: str, *scripts: Script) -> None:
        """What requests for this model get, in order; the last again and again. "*" is every other model.

        A path instead of a model scripts all that comes to it, also a GET.
        """
        self._scripts[model] = list(scripts)

    def of(self, model: str) -> list[Received]:
        return [request for request in self.requests if request.model == model]

    def reset(self) -> None:
        """Forget scripts and requests; what is still being answered is cut."""
        self._do(self._reset())

    # -- the server, in its own thread

    def _do(self, work: Any) -> Any:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(timeout=30)

    async def _reset(self) -> None:
        for task in list(self._busy):
            task.cancel()
        await asyncio.gather(*self._busy, return_exceptions=True)
        self._scripts.clear()
        self.requests = []
        self.connections = 0

    async def _close(self) -> None:
        self._server.close()
        for task in list(self._open):
            task.cancel()
        await asyncio.gather(*self._open, return_exceptions=True)
        await self._server.wait_closed()

    def _next(self, request: Received) -> Script:
        scripts = self._scripts.get(request.route)
        if request.method == "POST":
            scripts = scripts or self._scripts.get(request.model) or self._scripts.get("*")
        if not scripts:
            return Answer()
        return scripts.pop(0) if len(scripts) > 1 else scripts[0]

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._open.add(task)
        self.connections += 1
        writer.transport.set_write_buffer_limits(high=0)  # drain() then waits until the kernel took it all
        try:
            while (request := await read_request(reader)) is not None:
                self.requests.append(request)
                self._busy.add(task)
                try:
                    if not await self._answer(request, reader, writer):
                        break
                finally:
                    self._busy.discard(task)
        except asyncio.CancelledError:
            writer.transport.abort()
        except Cut as cut:
            if cut.reset:
                reset_on_close(writer)
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            self._open.discard(task)
            writer.close()

    async def _answer(
        self, request: Received, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> bool:
        """True when the connection may carry another request."""
        out = Out(request, writer)
        leaving = asyncio.ensure_future(left(reader))
        work = asyncio.ensure_future(self._play(request, out))
        try:
            await asyncio.wait((leaving, work), return_when=asyncio.FIRST_COMPLETED)
            if not work.done():
                request.client_left = True
                return False
            keep = work.result()
            request.finished = True
            return keep
        except ConnectionError:
            request.client_left = True
            raise
        finally:
            for side in (leaving, work):
                side.cancel()
            await asyncio.gather(leaving, work, return_exceptions=True)

    async def _play(self, request: Received, out: Out) -> bool:
        script = self._next(request)
        refusal = anthropic_refusal if request.anthropic else openai_refusal
        match script:
            case Hang():
                await asyncio.Event().wait()
            case Drop():
                raise Cut
            case Refuse(status, bytes() as body):
                return await out.whole(status, "text/plain", body, script.headers)
            case Refuse(status, body):
                return await out.json(status, refusal(status) if body is None else body, script.headers)
            case Raw():
                return await out.raw(script)
            case Answer():
                if request.method == "GET" and request.route == MODELS:
                    return await out.json(200, self._models(request), script.headers)
                route = ROUTES.get(request.route)
                if route is None:
                    return await out.json(404, refusal(404))
                return await _play_answer(script, route, request, out)
        raise AssertionError(script)

    def _models(self, request: Received) -> dict[str, Any]:
        names = sorted({*(name for name in self._scripts if not name.startswith("/")), "fake-gpt"} - {"*"})
        if request.header("anthropic-version") is not None:
            made = "2025-11-20T00:00:00Z"
            models = [{"type": "model", "id": n, "display_name": n, "created_at": made} for n in names]
            return {"data": models, "has_more": False, "first_id": names[0], "last_id": names[-1]}
        models = [{"id": n, "object": "model", "created": CREATED, "owned_by": "fake"} for n in names]
        return {"object": "list", "data": models}


async def _play_answer(script: Answer, route: Route, request: Received, out: Out) -> bool:
    body = request.json if isinstance(request.json, dict) else {}
    if route.steps is None or not body.get("stream"):
        await asyncio.sleep(script.delay_s)
        return await out.json(200, route.plain(script, body), script.headers)
    await out.head(200, SSE, "transfer-encoding: chunked", script.headers)
    for number, step in enumerate(route.steps(script, body)):
        if number == script.cut_after:
            raise Cut(script.reset)
        if number == script.hang_after:
            await asyncio.Event().wait()
        if number == script.fail_after:
            await out.frames(route.failure)
            break
        if script.delay_s:
            await asyncio.sleep(script.delay_s)
        await out.frames(step)
    await out.send(b"0\r\n\r\n")
    return True
