"""The composition root: puts stores, books, till and proxy together. The only file that knows all of them.

`serve` is the data plane and the side routes; `work` the loops that keep the books. `rabbitgw dev` runs both in one
process (dev/run.py).
"""

from __future__ import annotations

import asyncio
import gc
import signal
import socket
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Final

from aiohttp import web

from rabbitgw import clock, listening, metrics, stores, telemetry
from rabbitgw.api.answers import json_errors
from rabbitgw.api.metrics import metrics_port
from rabbitgw.api.routes import SideDeps, side_routes
from rabbitgw.billing import migrations
from rabbitgw.billing.admission import Till
from rabbitgw.billing.bookkeepers import Bookkeepers
from rabbitgw.billing.epoch import publish_epoch, read_names
from rabbitgw.billing.keyring import Keyring
from rabbitgw.billing.leases import Leases
from rabbitgw.billing.loading import AccountLoader
from rabbitgw.billing.loops import first_of
from rabbitgw.billing.plan_book import PlanFeed
from rabbitgw.billing.price_book import PriceFeed
from rabbitgw.billing.settling import Settler
from rabbitgw.billing.spool import Spool
from rabbitgw.billing.stray import StrayBooker
from rabbitgw.clock import RedisClock, new_id
from rabbitgw.config import Settings, database_url, required
from rabbitgw.errors import InvariantBroken, SettingInvalid
from rabbitgw.hugepages import use_huge_pages
from rabbitgw.listening import Listener
from rabbitgw.payments.till import Payments
from rabbitgw.proxy.catalog import Catalog
from rabbitgw.proxy.front import Front
from rabbitgw.proxy.front_inner import Inner
from rabbitgw.proxy.serve import Service
from rabbitgw.proxy.upstream import Upstream
from rabbitgw.redis_link import RedisLink
from rabbitgw.scrape import Boards, Scrape
from rabbitgw.scripts import Scripts
from rabbitgw.workers import Inherited, Leash, Workers, own_command

TICK_S: Final = 1.0
SETTLE_AT_END_S: Final = 5.0  # for answers that were broken off at the end of a drain
LINGER_S: Final = 0.25  # a connection that was taken in just now has its request on the way


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

    def __init__(
        self,
        settings: Settings,
        opened: Stores,
        *,
        sockets: Sequence[socket.socket] = (),
        scrape: Scrape | None = None,
        payments: Payments | None = None,
    ) -> None:
        """`sockets`: where to listen; none: on the port of the settings. `payments`: those of whoever closes them."""
        self._settings = settings
        self._opened = opened
        self._sockets = sockets
        self.scrape = scrape or Scrape()
        self.scrape.sources.append(self._show)
        self._stop = asyncio.Event()
        self.failed = asyncio.Event()
        redis_clock = RedisClock()
        worker_id = new_id()
        scripts = opened.scripts
        self._keyring = Keyring(opened.pg, scripts, opened.link)
        self._prices = PriceFeed(opened.pg)
        self._plans = PlanFeed(opened.pg)
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
            self._plans,
            hold_max_age_s=settings.hold_max_age_s,
            events_backlog_max=settings.events_backlog_max,
            hold_wait_s=settings.hold_wait_s,
            overdraft_gating=settings.overdraft_gating,
        )
        self._upstream = Upstream(
            required(settings, "litellm_base_url"),
            connect_timeout_s=settings.upstream_connect_timeout_s,
            first_byte_timeout_s=settings.upstream_first_byte_timeout_s,
            silence_timeout_s=settings.upstream_silence_timeout_s,
        )
        catalog = Catalog(self._upstream, settings.litellm_master_key.get_secret_value())
        self._service = Service(settings, self._keyring, self._prices, till, self._upstream, catalog)
        app = web.Application(client_max_size=settings.body_bytes_max, middlewares=[json_errors])
        self._own_payments = None
        if payments is None:
            payments = self._own_payments = Payments(opened.pg, opened.link, settings)
        deps = SideDeps(
            opened.pg,
            opened.link,
            scripts,
            self._keyring,
            settings,
            payments,
            self.scrape,
        )
        app.add_routes(side_routes(deps))
        self._inner = Inner(app, shutdown_timeout_s=SETTLE_AT_END_S)
        self._front = Front(self._service, self._inner)
        self._loops: list[asyncio.Task[None]] = []
        self._listener: Listener | None = None
        self.port = 0

    async def start(self) -> None:
        """Listen. Raises: SettingInvalid when the port is taken, PostgresUnavailable."""
        await self._prices.start()
        await self._plans.start()
        self._settler.adopt()
        for loop in (self._leases.run(self._stop), self._settler.run(self._stop), self._tick()):
            task = asyncio.create_task(loop)
            task.add_done_callback(self._loop_ended)
            self._loops.append(task)
        await self._inner.start()
        settings = self._settings
        try:
            sockets = self._sockets or listening.bound(settings.host, settings.port, setting="RABBITGW_PORT")
            self.port = listening.port_of(sockets)
            self._listener = await listening.serve(self._front.connect, sockets, setting="RABBITGW_PORT")
        except SettingInvalid:
            await self.stop()  # the loops run already
            raise

    async def stop(self, *, linger_s: float = 0.0) -> None:
        """Stop accepting, let running answers end, settle all, give up the leases. May be called again.

        `linger_s`: how long no request must have come before the connections that are open are closed.
        """
        if self._stop.is_set():
            return
        await self._front.drain(0)  # from now on each answer says that it is the last on its connection
        if self._listener is not None:
            await self._listener.close()
        await self._drain(linger_s)
        await self._upstream.close()  # what still runs now ends as broken off, and is settled for its part
        await self._front.drain(SETTLE_AT_END_S)
        await self._inner.close()
        await self._front.close()
        self._stop.set()
        await asyncio.gather(*self._loops, return_exceptions=True)
        await self._leases.give_up()
        await self._prices.stop()
        await self._plans.stop()
        self._spool.close()
        if self._own_payments is not None:
            await self._own_payments.close()
        self.scrape.sources.remove(self._show)

    async def _drain(self, linger_s: float) -> None:
        """Wait until nothing runs, and nothing more comes on the connections that are open."""
        ends_s = clock.monotonic_s() + self._settings.drain_timeout_s
        front = self._front
        while True:
            await front.drain(ends_s - clock.monotonic_s())
            if not linger_s or not front.connections:
                return
            seen = front.requests
            await asyncio.sleep(linger_s)
            if front.requests == seen or clock.monotonic_s() >= ends_s:
                return

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
            began_s = clock.monotonic_s()
            try:
                await asyncio.wait_for(self._stop.wait(), TICK_S)
            except TimeoutError:
                metrics.TICK_LATE.set(max(0.0, clock.monotonic_s() - began_s - TICK_S))
                self._service.tick()
                self.scrape.tick()

    def _show(self) -> None:
        """Set the gauges of what this gateway is made of."""
        metrics.WORKERS.set(1)
        metrics.ENDS_KEPT.set(self._settler.kept)
        metrics.SPOOL_RECORDS.set(self._spool.records)
        metrics.PRICES.set(len(self._prices.book))
        metrics.PRICES_STALE.set(int(self._prices.stale))
        metrics.PLANS_STALE.set(int(self._plans.stale))
        metrics.UPSTREAM_CONNECTIONS.set(self._upstream.idle, "idle")
        metrics.UPSTREAM_CONNECTIONS.set(self._upstream.open - self._upstream.idle, "busy")
        show_stores(self._opened)


def show_stores(opened: Stores) -> None:
    metrics.REDIS_UP.set(int(opened.link.connected))
    idle = opened.pg.get_idle_size()
    metrics.POSTGRES_CONNECTIONS.set(idle, "idle")
    metrics.POSTGRES_CONNECTIONS.set(opened.pg.get_size() - idle, "busy")


def calm_collector() -> None:
    """Nothing of a call forms a cycle that must be found soon, and what is loaded by now stays: looking for garbage at
    Python's own pace took a tenth of the gateway's time."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 50)


async def serve(settings: Settings, told: Inherited | None = None) -> None:
    """`rabbitgw serve`: answer requests until SIGTERM or SIGINT, then drain. `told`: as one worker of several."""
    observe(settings)
    stop = stop_on_signals()
    leash = None if told is None else Leash(told.leash, stop)
    scrape = Scrape(None if told is None else told.board())
    sockets = () if told is None else listening.inherited(told.listening)
    metrics_sockets = () if told is None else listening.inherited(told.metrics)
    async with open_stores(settings) as opened, metrics_port(settings, scrape, metrics_sockets):
        gateway = Gateway(settings, opened, sockets=sockets, scrape=scrape)
        await gateway.start()
        calm_collector()
        huge_bytes = use_huge_pages()
        telemetry.log("listening", host=settings.host, port=gateway.port, huge_page_bytes=huge_bytes)
        if leash is None:
            say_ready(settings.host, gateway.port)
        else:
            leash.ready()
        await first_of(stop, gateway.failed)
        await gateway.stop(linger_s=LINGER_S)
        scrape.tick()
        if leash is not None:
            leash.close()
        gateway.raise_if_failed()


async def serve_by_workers(settings: Settings, count: int) -> int:
    """`rabbitgw serve --workers N`: the parent of several processes that share the port. Returns the exit status."""
    observe(settings)
    stop, again = stop_on_signals(), asyncio.Event()
    if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:  # as under nohup
        asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, again.set)
    for field in ("database_url", "redis_url", "litellm_base_url"):
        required(settings, field)
    sockets = listening.bound(settings.host, settings.port, setting="RABBITGW_PORT")
    port = listening.port_of(sockets)
    metrics_sockets = []
    if settings.metrics_port:
        metrics_sockets = listening.bound(
            settings.metrics_host, settings.metrics_port, setting="RABBITGW_METRICS_PORT"
        )
    workers = Workers(
        own_command("serve", "--inherited"),
        count,
        Boards(settings.data_dir),
        listening=sockets,
        metrics=metrics_sockets,
        drain_timeout_s=settings.drain_timeout_s,
    )
    return await workers.run(stop, again, lambda: say_ready(settings.host, port))


async def work(settings: Settings, names: Sequence[str] = ()) -> None:
    """`rabbitgw work [NAME…]`: keep the books until SIGTERM or SIGINT."""
    observe(settings)
    stop = stop_on_signals()
    scrape = Scrape()
    async with open_stores(settings) as opened, metrics_port(settings, scrape):
        scrape.sources.append(lambda: show_stores(opened))
        async with open_payments(settings, opened) as payments:
            bookkeepers = bookkeepers_of(settings, opened, payments, names)
            telemetry.log("working", workers=bookkeepers.names)
            await bookkeepers.run(stop)


@asynccontextmanager
async def open_payments(settings: Settings, opened: Stores) -> AsyncIterator[Payments]:
    """Raises: SettingInvalid when a provider that is installed cannot be loaded."""
    payments = Payments(opened.pg, opened.link, settings)
    try:
        yield payments
    finally:
        await payments.close()


def bookkeepers_of(
    settings: Settings, opened: Stores, payments: Payments, names: Sequence[str] = ()
) -> Bookkeepers:
    """Every loop beside the gateway's, or those named. Raises: RequestInvalid for a name that is none."""
    return Bookkeepers(
        opened.pg, opened.link, opened.scripts, names, others={"payments": payments.run}, lease_s=settings.lease_s,
    )  # fmt: skip


def observe(settings: Settings) -> None:
    """Set up the log, and have what goes wrong counted."""
    telemetry.configure(settings.log_level)
    telemetry.count_by(metrics.logged)


def say_ready(host: str, port: int) -> None:
    print(f"rabbitgw ready on http://{host}:{port}", flush=True)


def stop_on_signals() -> asyncio.Event:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    return stop
