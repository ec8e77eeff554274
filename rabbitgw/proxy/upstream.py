"""The upstream client: one base URL, its pool of HTTP/1.1 connections, and the one timer that watches them.

Owns connecting, reuse, the single safe retry and the ages of connections. Knows no dialect, no money, and not
which other upstream could be asked instead: whoever holds several of these decides that.

All waiting is counted in ticks of one timer per upstream (a timer per request or chunk costs 1.2 us each, and
a loop that was held up cannot take its own delay for upstream's silence).
"""

from __future__ import annotations

import asyncio
import math
import ssl
from urllib.parse import urlsplit

from rabbitgw.errors import (
    SettingInvalid,
    UpstreamConnectFailed,
    UpstreamCut,
    UpstreamError,
    UpstreamOverloaded,
)
from rabbitgw.proxy.upstream_exchange import Exchange, ResponseSink
from rabbitgw.proxy.upstream_head import Headers, head_start, request_head
from rabbitgw.proxy.upstream_wire import Connection, Limits

__all__ = ["Exchange", "ResponseSink", "Upstream"]

TICK_S = 0.25
TICKS_PER_TIMEOUT_MIN = 4  # a short timeout makes the tick shorter, so that it is late by a quarter at most
REUSE_RACE_S = 2.0  # the answer of a closed port to our bytes, over any network and through a busy loop
IDLE_TIMEOUT_S = 4.0  # below the five seconds after which uvicorn, and so LiteLLM, hangs up by default
CONNECTIONS_MAX = 16_384


class Upstream:
    """`base_url` may have a path, which goes before the path of every request. Belongs to one event loop."""

    def __init__(
        self,
        base_url: str,
        *,
        connect_timeout_s: float = 5.0,
        first_byte_timeout_s: float = 600.0,
        silence_timeout_s: float = 300.0,
        idle_timeout_s: float = IDLE_TIMEOUT_S,
        pool_max: int = 1024,
        connections_max: int = CONNECTIONS_MAX,
        ssl_context: ssl.SSLContext | None = None,
        setting: str = "LITELLM_BASE_URL",
    ) -> None:
        """Opens nothing yet.

        pool_max: idle connections kept. connections_max: open ones, idle or not.
        Raises: SettingInvalid, naming `setting`.
        """
        self._parse(base_url, setting)
        self._tls = (ssl_context or _tls_context()) if self._https else None
        self._connect_timeout_s = connect_timeout_s
        self._pool_max = pool_max
        self._connections_max = connections_max
        self._tick_s = min(
            TICK_S, min(first_byte_timeout_s, silence_timeout_s, idle_timeout_s) / TICKS_PER_TIMEOUT_MIN
        )
        self._limits = Limits(
            idle_ticks=self._ticks(idle_timeout_s),
            first_byte_ticks=self._ticks(first_byte_timeout_s),
            silence_ticks=self._ticks(silence_timeout_s),
            reuse_race_ticks=self._ticks(REUSE_RACE_S),
            first_byte_s=first_byte_timeout_s,
            silence_s=silence_timeout_s,
        )
        self._idle: dict[Connection, None] = {}  # ordered: the last one used is the first to be used again
        self._open: set[Connection] = set()
        self._dialing = 0
        self._retries: set[asyncio.Task[None]] = set()
        self._timer: asyncio.TimerHandle | None = None
        self._closed = False

    def _parse(self, base_url: str, setting: str) -> None:
        try:
            url = urlsplit(base_url)
            port = url.port
        except ValueError:
            raise SettingInvalid(f"{setting}: not a usable URL") from None
        if url.scheme not in ("http", "https") or not url.hostname:
            raise SettingInvalid(f"{setting}: must be http://host[:port][/path] or https://...")
        if url.username or url.password or url.query or url.fragment:
            raise SettingInvalid(f"{setting}: no user, password, query or fragment belongs there")
        self.name = url.netloc  # for logs
        self._https = url.scheme == "https"
        self._host = url.hostname
        self._port = port or (443 if self._https else 80)
        try:
            self._host_field = url.netloc.encode("ascii")
            self._path_prefix = url.path.rstrip("/").encode("ascii")
        except UnicodeEncodeError:
            raise SettingInvalid(f"{setting}: must be plain ASCII (punycode, percent-encoding)") from None

    def _ticks(self, timeout_s: float) -> int:
        """At least that long, counted from between two ticks."""
        return math.ceil(timeout_s / self._tick_s)

    @property
    def open(self) -> int:
        """Connections, idle ones too."""
        return len(self._open)

    @property
    def idle(self) -> int:
        return len(self._idle)

    # -- requests --

    async def request(
        self, method: bytes, path: bytes, headers: Headers, body: bytes, sink: ResponseSink
    ) -> Exchange:
        """Send a request; its response goes to `sink`, which is not called before the awaiter goes on.

        Returns once head and body were written, or, of a big body, began to be: the rest follows as upstream
        reads it. Headers are the caller's, without Host, Content-Length, Accept-Encoding or Connection.
        A reused connection that dies with nothing answered is retried here, once, on a new connection, if
        upstream cannot have worked on the request.
        Raises: UpstreamConnectFailed, UpstreamOverloaded (too many connections of ours), RequestInvalid.
                `sink` was not called then, and never will be.
        """
        target = self._path_prefix + path
        head = request_head(method, target, self._host_field, headers, len(body))
        exchange = Exchange(sink, head, body, head_only=method == b"HEAD")
        if not self.send_now(exchange):
            await self.send(exchange)
        return exchange

    def head_start(self, method: bytes, path: bytes, headers: Headers) -> bytes:
        """What the heads of many requests have in common, for `Exchange`s that are made by hand (upstream_head.py)."""
        return head_start(method, self._path_prefix + path, self._host_field, headers)

    async def send(self, exchange: Exchange) -> None:
        """Send a request on a new connection. Raises: as `request`, and then `exchange` may be sent again."""
        connection = await self._connect()
        if exchange.over:  # whoever asked has left meanwhile
            self.give_back(connection)
        else:
            connection.send(exchange, reused=False)

    def send_now(self, exchange: Exchange) -> bool:
        """Send a request on a connection that is idle, without a wait. False: there is none."""
        idle = self._idle
        while idle:
            connection = idle.popitem()[0]
            if connection.usable:
                connection.send(exchange, reused=True)
                return True
        return False

    async def _connect(self) -> Connection:
        """A new connection, usable until the next await. Raises: UpstreamConnectFailed, UpstreamOverloaded."""
        if self._closed:
            raise UpstreamConnectFailed("upstream: the client is closed", sent=False)
        if len(self._open) + self._dialing >= self._connections_max:
            raise UpstreamOverloaded(f"upstream: {self._connections_max} connections are open", sent=False)
        self._dialing += 1
        try:
            connection = await self._dial()
        finally:
            self._dialing -= 1
        if not connection.usable:
            raise UpstreamConnectFailed("upstream: closed the new connection at once", sent=False)
        self._open.add(connection)
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(self._tick_s, self._tick)
        return connection

    async def _dial(self) -> Connection:
        loop = asyncio.get_running_loop()
        connection = Connection(self, self._limits, loop)
        try:
            async with asyncio.timeout(self._connect_timeout_s):
                await loop.create_connection(lambda: connection, self._host, self._port, ssl=self._tls)
        except TimeoutError:
            message = f"upstream: no connection within {self._connect_timeout_s:g} s"
            raise UpstreamConnectFailed(message, sent=False) from None
        except (OSError, UnicodeError) as error:  # UnicodeError: a host name that IDNA cannot encode
            reason = getattr(error, "strerror", None) or type(error).__name__
            raise UpstreamConnectFailed(f"upstream: cannot connect ({reason})", sent=False) from error
        if self._closed:  # meanwhile
            connection.shut(_stopping())
        return connection

    # -- what connections ask of their owner --

    def give_back(self, connection: Connection) -> None:
        """After a clean end."""
        if self._closed or len(self._idle) >= self._pool_max:
            connection.shut(_stopping())
        else:
            self._idle[connection] = None

    def forget(self, connection: Connection) -> None:
        self._idle.pop(connection, None)
        self._open.discard(connection)

    def try_again(self, exchange: Exchange) -> None:
        """Its reused connection died unheard: once more, on a new one."""
        task = asyncio.get_running_loop().create_task(self._again(exchange), name="upstream-retry")
        self._retries.add(task)
        task.add_done_callback(self._retries.discard)

    async def _again(self, exchange: Exchange) -> None:
        try:
            connection = await self._connect()
        except (UpstreamError, asyncio.CancelledError) as error:
            if not exchange.over:
                exchange.fail(error if isinstance(error, UpstreamError) else _stopping())
            if isinstance(error, asyncio.CancelledError):
                raise
        else:
            if exchange.over:
                self.give_back(connection)
            else:
                connection.send(exchange, reused=False)

    # -- time and end --

    def _tick(self) -> None:
        overdue = []
        for connection in self._open:
            if not connection.paused:
                connection.quiet_ticks += 1
                if connection.quiet_ticks > connection.limit_ticks:
                    overdue.append(connection)
        self._timer = None
        if self._open:  # armed before any sink is called: no sink may stop the clock of the others
            self._timer = asyncio.get_running_loop().call_later(self._tick_s, self._tick)
        for connection in overdue:
            connection.overdue()

    async def close(self) -> None:
        """Fail what is under way, close everything."""
        self._closed = True
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        retries = list(self._retries)
        for task in retries:
            task.cancel()
        await asyncio.gather(*retries, return_exceptions=True)
        for connection in list(self._open):
            connection.shut(_stopping())
        await asyncio.sleep(0)  # the transports' own ends are scheduled: let them run in this loop


def _stopping() -> UpstreamError:
    return UpstreamCut("upstream: this gateway is stopping", sent=False)


def _tls_context() -> ssl.SSLContext:
    context = ssl.create_default_context()
    context.set_alpn_protocols(["http/1.1"])
    return context
