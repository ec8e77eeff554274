"""One connection to Redis that many callers share: the commands of an event-loop turn leave in one write.

Owns connecting, reconnecting, and turning whatever goes wrong into RedisUnavailable; the bytes are
redis_wire's. Knows no key and no script. Replies are hiredis' own: bytes, int, None, lists of those.

A call that fails in flight (RedisTimeout, or the connection died) has an *unknown* effect: only commands
that can be repeated by an id of ours may be sent here. Nothing that blocks (BLPOP, XREAD BLOCK) may: it
would hold up everybody behind it.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from typing import Any

from rabbitgw import resp, telemetry
from rabbitgw.errors import RedisUnavailable
from rabbitgw.redis_url import RedisTarget, parse_redis_url
from rabbitgw.redis_wire import TICKS_PER_TIMEOUT, Wire, refused
from rabbitgw.resp import Argument

BACKOFF_FIRST_S = 0.05
BACKOFF_MAX_S = 1.0


class RedisLink:
    """The link that everybody in a process shares. Made by `connect`; heals itself until `close`.

    `send(command)` sends one command that resp.py wrote; the future is its reply. While the link is down it has failed
    already. It is the present wire's own: the link costs nothing on the way.
    Raises (from the future): RedisReplyError for an error reply, RedisTimeout and RedisUnavailable.
            LOADING, BUSY, TRYAGAIN and CLUSTERDOWN replies had no effect and may be sent again.
    `server_run_id` names the Redis process of the present (or last) connection: when it changes, Redis was
    restarted or another took its place. `on_connected(run_id)` is called at each (re)connect, before any
    other call passes; it must not raise or wait.
    """

    __slots__ = (
        "_healing",
        "_loop",
        "_on_connected",
        "_refusal",
        "_target",
        "_ticker",
        "_timeout_s",
        "_up",
        "_wire",
        "send",
        "server_run_id",
    )

    def __init__(
        self, target: RedisTarget, timeout_s: float, on_connected: Callable[[str], None] | None = None
    ) -> None:
        self._target = target
        self._timeout_s = timeout_s
        self._on_connected = on_connected
        self._loop = asyncio.get_running_loop()
        self._wire: Wire | None = None
        self.send: Callable[[bytes], asyncio.Future[Any]] = self._refuse
        self._refusal = "Redis: not connected"
        self._healing: asyncio.Task[None] | None = None
        self._ticker: asyncio.TimerHandle | None = None
        self._up = asyncio.Event()
        self.server_run_id = ""

    @classmethod
    async def connect(
        cls, url: str, *, timeout_s: float = 1.0, on_connected: Callable[[str], None] | None = None
    ) -> RedisLink:
        """Open the link; the first connection must succeed, later ones are made as needed.

        Units:  timeout_s is how long one reply may take, and one attempt to connect.
        Raises: SettingInvalid (naming REDIS_URL), RedisUnavailable.
        """
        link = cls(parse_redis_url(url), timeout_s, on_connected)
        await link._open()
        return link

    @property
    def connected(self) -> bool:
        return self._wire is not None

    def call(self, *args: Argument) -> asyncio.Future[Any]:
        """Send one command; as `send`. Raises: TypeError for an argument RESP cannot carry; nothing is sent then."""
        return self.send(resp.command(args))

    def _refuse(self, command: bytes) -> asyncio.Future[Any]:
        return refused(self._loop, self._refusal)

    async def wait_connected(self, timeout_s: float) -> None:
        """For a caller that would rather wait a little than fail at once. Raises: RedisUnavailable."""
        if self._wire is None:
            try:
                async with asyncio.timeout(timeout_s):
                    await self._up.wait()
            except TimeoutError:
                raise RedisUnavailable(self._refusal) from None

    async def close(self) -> None:
        """Refuse new calls, give those in flight one timeout to be answered, fail the rest, disconnect."""
        wire, self._wire, self.send = self._wire, None, self._refuse
        self._refusal = "Redis: the link is closed"
        self._up.clear()
        if self._healing is not None:
            self._healing.cancel()
            await asyncio.gather(self._healing, return_exceptions=True)
        if wire is not None and wire.waiting:
            await asyncio.wait(list(wire.waiting), timeout=self._timeout_s)
        if self._ticker is not None:
            self._ticker.cancel()
            self._ticker = None
        if wire is not None:
            wire.lose("the link is closed")
            await asyncio.sleep(0)  # the transport's own end is scheduled: let it run in this loop

    # -- connecting --

    async def _open(self) -> None:
        """One attempt: connect, introduce ourselves, learn the run id, go live."""
        wire = Wire(self._loop, self._timeout_s, self._on_lost)
        try:
            async with asyncio.timeout(self._timeout_s):
                await self._dial(wire)
                commands = map(resp.command, (*self._target.greeting, ("INFO", "server")))
                replies = await asyncio.gather(*map(wire.send, commands), return_exceptions=True)
            for reply in replies:
                if isinstance(reply, BaseException):
                    raise reply
            if wire.lost:  # after the last reply, before we woke
                raise RedisUnavailable("Redis: connection lost")
            self.server_run_id = _run_id(replies[-1])
            if self._on_connected is not None:
                self._on_connected(self.server_run_id)
        except TimeoutError:
            wire.lose("no greeting in time")
            raise RedisUnavailable(f"Redis: no connection within {self._timeout_s:g} s") from None
        except (OSError, UnicodeError) as error:  # UnicodeError: a host name that IDNA cannot encode
            wire.lose("not reached")
            raise RedisUnavailable(f"Redis: cannot connect ({_reason(error)})") from error
        except BaseException:
            wire.lose("not greeted")
            raise
        self._wire, self.send = wire, wire.send
        self._up.set()
        self._tick()

    async def _dial(self, wire: Wire) -> None:
        target = self._target
        if target.path is not None:
            await self._loop.create_unix_connection(lambda: wire, target.path)
        else:
            await self._loop.create_connection(lambda: wire, target.host, target.port, ssl=target.tls)

    def _on_lost(self, wire: Wire, reason: str) -> None:
        if wire is not self._wire:
            return  # one that never went live, or one that close() has taken down
        self._wire, self.send = None, self._refuse
        self._refusal = f"Redis: {reason}; connecting again"
        self._up.clear()
        if self._ticker is not None:
            self._ticker.cancel()
            self._ticker = None
        telemetry.warn("redis_link_lost", target=self._target.name, reason=reason)
        self._healing = self._loop.create_task(self._heal(), name="redis-link-heal")

    async def _heal(self) -> None:
        """Connect again, for ever, at most once a second."""
        backoff_s = BACKOFF_FIRST_S
        while True:
            try:
                await self._open()
            except RedisUnavailable as error:
                self._refusal = error.message
            else:
                telemetry.log("redis_link_restored", target=self._target.name, run_id=self.server_run_id)
                return
            # Spread, so that the workers of a machine do not knock at the same moment.
            await asyncio.sleep(backoff_s * (0.5 + random.random() / 2))  # noqa: S311 (no secret)
            backoff_s = min(2 * backoff_s, BACKOFF_MAX_S)

    def _tick(self) -> None:
        self._ticker = self._loop.call_later(self._timeout_s / TICKS_PER_TIMEOUT, self._tick)
        if self._wire is not None:
            self._wire.tick()


def _reason(error: Exception) -> str:
    return getattr(error, "strerror", None) or type(error).__name__


def _run_id(info: Any) -> str:
    for line in bytes(info).splitlines():
        if line.startswith(b"run_id:"):
            return line[7:].decode("ascii", "replace")
    raise RedisUnavailable("Redis: INFO server tells no run_id")
