"""The composition root: puts stores, books, till and proxy together. The only file that knows all of them.

`serve` is the data plane and the side routes; `work` the loops that keep the books. `rabbitgw dev` runs both in one
process (dev/run.py).
"""

from __future__ import annotations

import asyncio
import signal
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Final
from urllib.parse import quote, urlsplit, urlunsplit

from aiohttp import web

from rabbitgw import stores, telemetry
from rabbitgw.api.answers import json_errors
from rabbitgw.api.routes import SideDeps, side_routes
from rabbitgw.billing import migrations
from rabbitgw.billing.admission import Till
from rabbitgw.billing.bookkeepers import Bookkeepers
from rabbitgw.billing.epoch import publish_epoch, read_names
from rabbitgw.billing.keyring import Keyring
from rabbitgw.billing.leases import Leases
from rabbitgw.billing.loading import AccountLoader
from rabbitgw.billing.loops import first_of
from rabbitgw.billing.price_book import PriceFeed
from rabbitgw.billing.settling import Settler
from rabbitgw.billing.spool import Spool
from rabbitgw.billing.stray import StrayBooker
from rabbitgw.clock import RedisClock, new_id
from rabbitgw.config import Settings
from rabbitgw.errors import InvariantBroken, SettingInvalid
from rabbitgw.proxy.catalog import Catalog
from rabbitgw.proxy.front import Front, server_log
from rabbitgw.proxy.serve import Service
from rabbitgw.proxy.upstream import Upstream
from rabbitgw.redis_link import RedisLink
from rabbitgw.scripts import Scripts

TICK_S: Final = 1.0
SETTLE_AT_END_S: Final = 5.0  # for answers that were broken off at the end of a drain


@dataclass(frozen=True, slots=True)
class Stores:
    pg: stores.Pool
    link: RedisLink
    scripts: Scripts


@asynccontextmanager
async def open_stores(settings: Settings) -> AsyncIterator[Stores]:
    """Both stores, checked: migrated, and in the same epoch.

    Raises: SettingInvalid, MigrationRefused, PostgresUnavailable, RedisUnavailable.
    """
    pg = await stores.open_postgres(database_url(settings), max_size=settings.postgres_pool_max)
    try:
        async with stores.connection(pg) as db:
            await migrations.check(db)
        names = await read_names(pg)
        link = await stores.open_redis(required(settings, "redis_url"), timeout_s=settings.redis_timeout_s)
        try:
            for warning in await stores.redis_warnings(link):
                telemetry.warn("redis_unsafe", reason=warning)
            await publish_epoch(link, names)
            yield Stores(pg, link, Scripts(link, names, timeout_s=settings.redis_timeout_s))
        finally:
            await link.close()
    finally:
        await pg.close()


class Gateway:
    """The data plane and the side routes of one process, on one port.

    `failed` is set when a loop of it has ended by a bug: the process is to drain, end and be started anew.
    """

    def __init__(self, settings: Settings, opened: Stores) -> None:
        self._settings = settings
        self._stop = asyncio.Event()
        self.failed = asyncio.Event()
        redis_clock = RedisClock()
        worker_id = new_id()
        scripts = opened.scripts
        self._keyring = Keyring(opened.pg, scripts, opened.link)
        self._prices = PriceFeed(opened.pg)
        self._leases = Leases(scripts, worker_id, redis_clock, settings.lease_s)
        self._spool = Spool(settings.data_dir / "spool", worker_id)
        strays = StrayBooker(opened.pg, opened.link, scripts.names)
        self._settler = Settler(scripts, self._spool, strays.book, settle_wait_s=settings.settle_wait_s)
        loader = AccountLoader(opened.pg, scripts)
        till = Till(
            scripts,
            self._keyring,
            self._leases,
            self._settler,
            redis_clock,
            loader.load,
            hold_max_age_s=settings.hold_max_age_s,
            events_backlog_max=settings.events_backlog_max,
            hold_wait_s=settings.hold_wait_s,
        )
        self._upstream = Upstream(
            required(settings, "litellm_base_url"),
            connect_timeout_s=settings.upstream_connect_timeout_s,
            first_byte_timeout_s=settings.upstream_first_byte_timeout_s,
            silence_timeout_s=settings.upstream_silence_timeout_s,
        )
        catalog = Catalog(self._upstream, settings.litellm_master_key.get_secret_value())
        self._service = Service(settings, self._keyring, self._prices, till, self._upstream, catalog)
        self._front = Front(self._service)
        app = web.Application(client_max_size=settings.body_bytes_max, middlewares=[json_errors])
        app.add_routes(self._front.routes())
        app.add_routes(side_routes(SideDeps(opened.pg, opened.link, scripts, self._keyring, settings)))
        # a handler is cancelled when its client goes: how the front learns of it
        self._runner = web.AppRunner(
            app,
            logger=server_log(),
            access_log=None,
            handler_cancellation=True,
            shutdown_timeout=SETTLE_AT_END_S,
        )
        self._loops: list[asyncio.Task[None]] = []
        self.port = 0

    async def start(self) -> None:
        """Listen. Raises: SettingInvalid when the port is taken, PostgresUnavailable."""
        await self._prices.start()
        self._settler.adopt()
        for loop in (self._leases.run(self._stop), self._settler.run(self._stop), self._tick()):
            task = asyncio.create_task(loop)
            task.add_done_callback(self._loop_ended)
            self._loops.append(task)
        await self._runner.setup()
        site = web.TCPSite(self._runner, self._settings.host, self._settings.port, reuse_address=True)
        try:
            await site.start()
        except OSError as error:
            await self.stop()  # the loops run already
            raise SettingInvalid(f"RABBITGW_PORT: {self._settings.port} cannot be used: {error}") from None
        self.port = int(self._runner.addresses[0][1])

    async def stop(self) -> None:
        """Stop accepting, let running answers end, settle all, give up the leases. May be called again."""
        if self._stop.is_set():
            return
        for site in tuple(self._runner.sites):
            await site.stop()
        await self._front.drain(self._settings.drain_timeout_s)
        await self._upstream.close()  # what still runs now ends as broken off, and is settled for its part
        await self._front.drain(SETTLE_AT_END_S)
        await self._runner.cleanup()
        self._stop.set()
        await asyncio.gather(*self._loops, return_exceptions=True)
        await self._leases.give_up()
        await self._prices.stop()
        self._spool.close()

    def raise_if_failed(self) -> None:
        """Raises: InvariantBroken, so that the process ends with an error."""
        if self.failed.is_set():
            raise InvariantBroken("a loop of the gateway has failed; the log says why")

    def _loop_ended(self, task: asyncio.Task[None]) -> None:
        error = None if task.cancelled() else task.exception()
        if error is not None:
            telemetry.error("gateway_loop_failed", exc=error)
            self.failed.set()

    async def _tick(self) -> None:
        while not self._stop.is_set():
            try:
                await asyncio.wait_for(self._stop.wait(), TICK_S)
            except TimeoutError:
                self._service.tick()


async def serve(settings: Settings) -> None:
    """`rabbitgw serve`: answer requests until SIGTERM or SIGINT, then drain."""
    telemetry.configure(settings.log_level)
    stop = stop_on_signals()
    async with open_stores(settings) as opened:
        gateway = Gateway(settings, opened)
        await gateway.start()
        telemetry.log("listening", host=settings.host, port=gateway.port)
        print(f"rabbitgw ready on http://{settings.host}:{gateway.port}", flush=True)
        await first_of(stop, gateway.failed)
        await gateway.stop()
        gateway.raise_if_failed()


async def work(settings: Settings, names: Sequence[str] = ()) -> None:
    """`rabbitgw work [NAME…]`: keep the books until SIGTERM or SIGINT."""
    telemetry.configure(settings.log_level)
    stop = stop_on_signals()
    async with open_stores(settings) as opened:
        bookkeepers = Bookkeepers(opened.pg, opened.link, opened.scripts, names, lease_s=settings.lease_s)
        telemetry.log("working", workers=bookkeepers.names)
        await bookkeepers.run(stop)


def stop_on_signals() -> asyncio.Event:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    return stop


def required(settings: Settings, field: str) -> str:
    """A setting that this command cannot do without.

    Raises: SettingInvalid naming the variable.
    """
    value = getattr(settings, field)
    text = value if isinstance(value, str) else value.get_secret_value()
    if not text:
        names = {
            "database_url": "DATABASE_URL",
            "redis_url": "REDIS_URL",
            "litellm_base_url": "LITELLM_BASE_URL",
        }
        raise SettingInvalid(f"{names[field]}: not set; `rabbitgw dev` runs without it")
    return str(text)


def database_url(settings: Settings) -> str:
    """DATABASE_URL, with POSTGRES_PASSWORD filled in where it has a user and no password."""
    url = required(settings, "database_url")
    password = settings.postgres_password.get_secret_value()
    parts = urlsplit(url)
    if not password or parts.password or not parts.username:
        return url
    user, _, host = parts.netloc.rpartition("@")
    return urlunsplit(parts._replace(netloc=f"{user}:{quote(password, safe='')}@{host}"))
