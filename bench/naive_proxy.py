"""The proxy that one writes first: aiohttp on both sides, chunk by chunk, no billing. A peer in the bench.

python -m bench.naive_proxy PORT UPSTREAM
"""

from __future__ import annotations

import sys

import uvloop
from aiohttp import ClientSession, TCPConnector, web

HOP_BY_HOP = frozenset({"host", "connection", "keep-alive", "transfer-encoding", "content-length", "upgrade"})


class Proxy:
    def __init__(self, upstream: str) -> None:
        self._upstream = upstream

    async def open(self, _: web.Application) -> None:
        self._client = ClientSession(connector=TCPConnector(limit=0), auto_decompress=False)

    async def close(self, _: web.Application) -> None:
        await self._client.close()

    async def handle(self, request: web.Request) -> web.StreamResponse:
        headers = {name: value for name, value in request.headers.items() if name.lower() not in HOP_BY_HOP}
        body = await request.read()
        url = self._upstream + request.path_qs
        async with self._client.request(request.method, url, headers=headers, data=body) as answer:
            kept = {name: value for name, value in answer.headers.items() if name.lower() not in HOP_BY_HOP}
            response = web.StreamResponse(status=answer.status, headers=kept)
            if answer.content_length is not None:
                response.content_length = answer.content_length
            await response.prepare(request)
            async for piece in answer.content.iter_any():
                await response.write(piece)
            await response.write_eof()
            return response


def main() -> None:
    proxy = Proxy(sys.argv[2])
    app = web.Application(client_max_size=32 * 1024 * 1024)
    app.on_startup.append(proxy.open)
    app.on_cleanup.append(proxy.close)
    app.router.add_route("*", "/{path:.*}", proxy.handle)
    web.run_app(
        app,
        host="127.0.0.1",
        port=int(sys.argv[1]),
        access_log=None,
        loop=uvloop.new_event_loop(),
        print=None,
        backlog=4096,
    )


if __name__ == "__main__":
    main()
