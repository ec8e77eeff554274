"""A scripted OpenAI-compatible upstream: answers, stalls, cuts and lies as told, and remembers what it got.

Runs in a thread with a loop of its own, so that one instance serves a whole test run, LiteLLM included.
A test scripts it by model name: the scripts of a model are used one after the other, the last one again and
again. A stream carries its usage chunk only if the request asked for it, as OpenAI's do.
"""

from __future__ import annotations

import asyncio
import json
import socket
import struct
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from tests.fakes.upstream_scripts import (
    CREATED,
    HTML,
    SSE,
    Answer,
    Drop,
    Hang,
    Raw,
    Refuse,
    Script,
    events,
    plain,
    usage,
)

__all__ = ["HTML", "Answer", "Drop", "FakeUpstream", "Hang", "Raw", "Received", "Refuse", "Script", "usage"]


@dataclass
class Received:
    """One request as it came, and what became of its answer."""

    method: str
    path: str
    headers: list[tuple[str, str]]  # names in lower case, in order, repeats kept
    body: bytes
    json: Any
    bytes_sent: int = 0  # taken by the client's side of the connection, head included
    finished: bool = False
    client_left: bool = False

    def header(self, name: str) -> str | None:
        return next((value for key, value in self.headers if key == name), None)

    @property
    def model(self) -> str:
        return str(self.json.get("model", "")) if isinstance(self.json, dict) else ""


class _Cut(Exception):
    """The script ends the connection here. `reset`: by RST."""

    def __init__(self, reset: bool = False) -> None:
        super().__init__()
        self.reset = reset


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
        """What requests for this model get, in order; the last again and again. "*" is every other model."""
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

    def _next(self, model: str) -> Script:
        scripts = self._scripts.get(model) or self._scripts.get("*")
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
            while (request := await _read_request(reader)) is not None:
                self.requests.append(request)
                self._busy.add(task)
                try:
                    if not await self._answer(request, reader, writer):
                        break
                finally:
                    self._busy.discard(task)
        except asyncio.CancelledError:
            writer.transport.abort()
        except _Cut as cut:
            if cut.reset:
                _reset_on_close(writer)
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            self._open.discard(task)
            writer.close()

    async def _answer(
        self, request: Received, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> bool:
        """True when the connection may carry another request."""
        out = _Out(request, writer)
        left = asyncio.ensure_future(_left(reader))
        work = asyncio.ensure_future(self._play(request, out))
        try:
            await asyncio.wait((left, work), return_when=asyncio.FIRST_COMPLETED)
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
            for side in (left, work):
                side.cancel()
            await asyncio.gather(left, work, return_exceptions=True)

    async def _play(self, request: Received, out: _Out) -> bool:
        if request.method == "GET" and request.path.partition("?")[0] == "/v1/models":
            names = sorted({*self._scripts, "fake-gpt"} - {"*"})
            models = [{"id": n, "object": "model", "created": CREATED, "owned_by": "fake"} for n in names]
            return await out.json(200, {"object": "list", "data": models})
        script = self._next(request.model)
        match script:
            case Hang():
                await asyncio.Event().wait()
            case Drop():
                raise _Cut
            case Refuse(body=bytes() as body):
                return await out.whole(script.status, "text/plain", body, script.headers)
            case Refuse():
                return await out.json(script.status, script.body, script.headers)
            case Raw():
                return await out.raw(script)
            case Answer():
                return await _play_answer(script, request, out)
        raise AssertionError(script)


class _Out:
    """The answer's bytes, counted."""

    def __init__(self, request: Received, writer: asyncio.StreamWriter) -> None:
        self._request = request
        self._writer = writer

    async def send(self, data: bytes) -> None:
        self._writer.write(data)
        await self._writer.drain()
        self._request.bytes_sent += len(data)

    async def head(self, status: int, content_type: str, framing: str, headers: Mapping[str, str]) -> None:
        lines = [f"HTTP/1.1 {status} Scripted", f"content-type: {content_type}", framing]
        lines += [f"{name}: {value}" for name, value in headers.items()]
        await self.send(("\r\n".join(lines) + "\r\n\r\n").encode())

    async def whole(
        self, status: int, content_type: str, body: bytes, headers: Mapping[str, str] | None = None
    ) -> bool:
        await self.head(status, content_type, f"content-length: {len(body)}", headers or {})
        await self.send(body)
        return True

    async def json(self, status: int, body: Any, headers: Mapping[str, str] | None = None) -> bool:
        return await self.whole(status, "application/json", json.dumps(body).encode(), headers)

    async def chunk(self, data: bytes) -> None:
        await self.send(b"%x\r\n%b\r\n" % (len(data), data))

    async def event(self, body: Any) -> None:
        text = body if isinstance(body, str) else json.dumps(body, separators=(",", ":"))
        await self.chunk(f"data: {text}\n\n".encode())

    async def raw(self, script: Raw) -> bool:
        framing = {
            "chunked": "transfer-encoding: chunked",
            "length": f"content-length: {sum(map(len, script.pieces))}",
            "close": "connection: close",
        }[script.framing]
        await self.head(script.status, script.content_type, framing, script.headers)
        for piece in script.pieces:
            if script.delay_s:
                await asyncio.sleep(script.delay_s)
            await (self.chunk(piece) if script.framing == "chunked" else self.send(piece))
        if script.cut:
            raise _Cut
        if script.framing == "chunked":
            await self.send(b"0\r\n\r\n")
        return script.framing != "close"


async def _play_answer(script: Answer, request: Received, out: _Out) -> bool:
    body = request.json if isinstance(request.json, dict) else {}
    route = request.path.partition("?")[0].removeprefix("/v1")
    if route == "/embeddings":
        stated = script.usage and {k: script.usage[k] for k in ("prompt_tokens", "total_tokens")}
        vectors = [{"object": "embedding", "index": 0, "embedding": [0.25, -0.5, 0.125]}]
        answer = {"object": "list", "data": vectors, "model": request.model}
        return await out.json(200, answer | ({"usage": stated} if stated else {}), script.headers)
    if route not in ("/chat/completions", "/completions"):
        return await out.json(
            404, {"error": {"message": f"no route {route}", "type": "invalid_request_error"}}
        )
    chat = route == "/chat/completions"
    if not body.get("stream"):
        await asyncio.sleep(script.delay_s)
        return await out.json(200, plain(script, request.model, chat), script.headers)
    await out.head(200, SSE, "transfer-encoding: chunked", script.headers)
    for number, event in enumerate(events(script, body, chat)):
        if number == script.cut_after:
            raise _Cut(script.reset)
        if number == script.hang_after:
            await asyncio.Event().wait()
        if number == script.fail_after:
            await out.event({"error": {"message": "upstream broke", "type": "server_error", "code": None}})
            break
        if script.delay_s:
            await asyncio.sleep(script.delay_s)
        await out.event(event)
    await out.send(b"0\r\n\r\n")
    return True


def _reset_on_close(writer: asyncio.StreamWriter) -> None:
    linger_off = struct.pack("ii", 1, 0)
    writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger_off)


async def _left(reader: asyncio.StreamReader) -> None:
    """Returns when the client has closed or reset; a byte of a next request counts as still there."""
    while not reader.at_eof():
        await asyncio.sleep(0.01)
        if reader.exception() is not None:
            return


async def _read_request(reader: asyncio.StreamReader) -> Received | None:
    try:
        head = await reader.readuntil(b"\r\n\r\n")
    except asyncio.IncompleteReadError:
        return None
    first, *lines = head.decode("latin-1").removesuffix("\r\n\r\n").split("\r\n")
    method, path, _ = first.split(" ", 2)
    pairs = [line.partition(":") for line in lines]
    headers = [(name.strip().lower(), value.strip()) for name, _, value in pairs]
    known = dict(headers)
    if "chunked" in known.get("transfer-encoding", ""):
        body = b""
        while size := int((await reader.readuntil(b"\r\n")).split(b";")[0], 16):
            body += (await reader.readexactly(size + 2))[:-2]
        await reader.readuntil(b"\r\n")
    else:
        body = await reader.readexactly(int(known.get("content-length", 0)))
    try:
        parsed = json.loads(body) if body else None
    except ValueError:
        parsed = None
    return Received(method, path, headers, body, parsed)
