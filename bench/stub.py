"""The upstream of the bench: answers as told by the model's name, as cheaply as Python can.

    python -m bench.stub PORT

Model "stub-plain" gets a JSON answer of about 600 bytes; "stub-<chunks>-<delay ms>" a stream of so many chunks, each
a write of its own, so long after the one before. A chunk has one token, or as many as a third number says, each of four
bytes, or of as many as a fourth number says. It carries the moment when it was written (CLOCK_MONOTONIC, nanoseconds),
by which the load generator on the same machine knows how long it was under way; it stands where OpenAI pads its chunks,
and so is no text.
Every candidate passes a body on, and not every one its headers: so it is the body that tells.
"""

from __future__ import annotations

import asyncio
import functools
import gc
import itertools
import re
import sys
import time
from typing import cast

import uvloop

HEAD_MAX = 64 * 1024
LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)
MODEL = re.compile(rb'"model": *"stub-(?:plain|(\d+)-(\d+)(?:-(\d+)(?:-(\d+))?)?)"')
WANTS_USAGE = re.compile(rb'"include_usage": *true')
STAMP_DIGITS = 19
GOLDEN = 0.618034  # its multiples fall evenly between 0 and 1

ANSWER = (
    b'{"id":"chatcmpl-9f86d081884c7d659a2feaa0c55ad015","object":"chat.completion","created":1763700000,'
    b'"model":"stub-plain","choices":[{"index":0,"message":{"role":"assistant","content":"'
    + b"The quick brown fox jumps over the lazy dog. "
    * 5
    + b'","refusal":null},"logprobs":null,"finish_reason":"stop"}],"usage":{"prompt_tokens":19,'
    b'"completion_tokens":50,"total_tokens":69,"prompt_tokens_details":{"cached_tokens":0},'
    b'"completion_tokens_details":{"reasoning_tokens":0}},"service_tier":"default"}'
)
PLAIN = (
    b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n" % len(ANSWER) + ANSWER
)
STREAM_HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
EVENT_START = (
    b'data: {"id":"chatcmpl-9f86d081884c7d65","object":"chat.completion.chunk","created":1763700000,'
)
EVENT_MODEL = b'"model":"stub","system_fingerprint":"fp_44709d6fcb",'


def http_chunk(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


def event(rest: bytes) -> bytes:
    return EVENT_START + EVENT_MODEL + rest + b"}\n\n"


@functools.cache
def around_stamp(tokens: int, token_bytes: int) -> tuple[bytes, bytes]:
    """A chunk of so many tokens of so many bytes, cut where its stamp goes."""
    text = b"tok ".ljust(token_bytes, b"t") * tokens
    choice = b'"choices":[{"index":0,"delta":{"content":"' + text + b'"},"finish_reason":null}]'
    zeros = b"0" * STAMP_DIGITS
    before, after = http_chunk(event(choice + b',"obfuscation":"t=' + zeros + b'"')).split(zeros)
    return before, after


FINISH = http_chunk(event(b'"choices":[{"index":0,"delta":{},"finish_reason":"stop"}]'))
DONE = http_chunk(b"data: [DONE]\n\n") + b"0\r\n\r\n"
NOT_FOUND = b"HTTP/1.1 404 Not Found\r\ncontent-type: application/json\r\ncontent-length: 2\r\n\r\n{}"


def usage_event(tokens: int) -> bytes:
    counts = b'"prompt_tokens":19,"completion_tokens":%d,"total_tokens":%d' % (tokens, 19 + tokens)
    return http_chunk(event(b'"choices":[],"usage":{' + counts + b"}"))


class Stub(asyncio.Protocol):
    """One connection; a request is answered before the next is read."""

    streams = itertools.count(1)

    def __init__(self) -> None:
        self._buffer = b""
        self._left = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)  # uvloop's is no subclass of it
        self._loop = asyncio.get_running_loop()

    def data_received(self, data: bytes) -> None:
        self._buffer = data = self._buffer + data if self._buffer else data
        head_end = data.find(b"\r\n\r\n")
        if head_end < 0:
            if len(data) > HEAD_MAX:
                self.transport.close()
            return
        length = LENGTH.search(data, 0, head_end)
        end = head_end + 4 + (int(length[1]) if length else 0)
        if len(data) >= end:
            self._buffer = data[end:]
            self._answer(data[head_end + 4 : end])

    def _answer(self, body: bytes) -> None:
        model = MODEL.search(body)
        if model is None:
            self.transport.write(NOT_FOUND)
        elif model[1] is None:
            self.transport.write(PLAIN)
        else:
            tokens = int(model[3] or 1)
            self._left = int(model[1])
            self._before, self._after = around_stamp(tokens, int(model[4] or 4))
            self._delay_s = int(model[2]) / 1000
            self._end = (
                FINISH + (usage_event(self._left * tokens) if WANTS_USAGE.search(body) else b"") + DONE
            )
            self.transport.write(STREAM_HEAD + self._stamped())
            # streams that began together do not stay in step: each waits a share of its delay first
            phase = next(Stub.streams) * GOLDEN % 1
            self._loop.call_later(self._delay_s * phase, self._write_next)

    def _stamped(self) -> bytes:
        self._left -= 1
        return self._before + b"%019d" % time.monotonic_ns() + self._after

    def _write_next(self) -> None:
        if self.transport.is_closing():
            return
        if self._left > 0:
            self.transport.write(self._stamped())
            self._loop.call_later(self._delay_s, self._write_next)
        else:
            self.transport.write(self._end)


async def serve(port: int) -> None:
    gc.disable()  # nothing here makes cycles that matter, and a pause of ours would look like theirs
    server = await asyncio.get_running_loop().create_server(Stub, "127.0.0.1", port, backlog=4096)
    print("ready", flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(serve(int(sys.argv[1])))
