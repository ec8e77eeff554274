"""`rabbitgw doctor`: looks at a deployment, from its settings up to what upstream sells, and says how to mend it.

Owns the order: what cannot be reached is one finding, and what hangs on it is not looked at. Nothing is changed.
"""

from __future__ import annotations

import argparse
import asyncio
from collections import Counter
from collections.abc import Sequence
from contextlib import AsyncExitStack
from typing import Final

from pydantic_settings import DotEnvSettingsSource, EnvSettingsSource

from rabbitgw import statements, stores
from rabbitgw.billing.accounts import CURRENCY_DEFAULT
from rabbitgw.billing.doctor.books import look_at_books, look_at_both
from rabbitgw.billing.doctor.disk import look_at_disk
from rabbitgw.billing.doctor.postgres import look_at_postgres
from rabbitgw.billing.doctor.redis import look_at_redis
from rabbitgw.billing.doctor.settings import look_at_settings
from rabbitgw.billing.price_book import load_book
from rabbitgw.billing.prices import PriceBook
from rabbitgw.cli_output import print_json
from rabbitgw.cli_stores import command_settings
from rabbitgw.config import Settings, database_url
from rabbitgw.errors import SettingInvalid
from rabbitgw.findings import LIMIT_S, Checkup, Finding, State, Verdict, ok, secrets_of
from rabbitgw.payments.checks import look_at_payment_settings, look_at_providers
from rabbitgw.proxy.upstream import Upstream
from rabbitgw.proxy.upstream_checks import UpstreamChecks
from rabbitgw.redis_link import RedisLink

Options = argparse.Namespace

ANSWER_S: Final = 4.0  # of Redis and upstream: below the limit of a check, so that the reason is told
CLOSE_S: Final = 2.0
POOL_MAX: Final = 8
UNREACHABLE: Final = "is the URL right, is the server up, does a firewall stand between?"
NOTE: Final = "whether the books agree is not looked at here: run `rabbitgw audit`"


async def run_doctor(options: Options) -> int:
    """Exit status 1 if a check failed."""
    try:
        settings = command_settings()
        beside_dev = not Settings.load().database_url.get_secret_value() and bool(
            settings.database_url.get_secret_value()
        )
    except SettingInvalid as error:
        findings = [Finding("settings", State.FAILED, error.message, "correct it, and run this again")]
    else:
        findings = await Doctor(settings, beside_dev=beside_dev).findings()
    worst = Counter(one.state for one in findings)
    if options.json:
        print_json(
            {
                "ok": not worst[State.FAILED],
                "counts": {state.value: worst[state] for state in State},
                "checks": [
                    {
                        "check": one.check,
                        "state": one.state.value,
                        "found": one.found,
                        "mend": one.mend or None,
                    }
                    for one in findings
                ],
                "note": NOTE,
            }
        )
    else:
        _print(findings)
        print(", ".join(f"{worst[state]} {state.value}" for state in State) + f"; {NOTE}")
    return 1 if worst[State.FAILED] else 0


class Doctor:
    """One look at a deployment. What it opens it closes."""

    def __init__(self, settings: Settings, *, beside_dev: bool = False, limit_s: float = LIMIT_S) -> None:
        """beside_dev: the stores are those of a running `rabbitgw dev`, which also has an upstream of its own."""
        self._settings = settings
        self._beside_dev = beside_dev
        self._opened = AsyncExitStack()
        self._pg: stores.Pool | None = None
        self._link: RedisLink | None = None
        secret = (
            settings.admin_key,
            settings.litellm_master_key,
            settings.postgres_password,
            settings.dev_api_key,
            settings.stripe_secret_key,
            settings.stripe_webhook_secret,
        )
        urls = (settings.database_url, settings.redis_url)
        self._checkup = Checkup(secrets_of(one.get_secret_value() for one in (*secret, *urls)), limit_s)

    async def findings(self) -> list[Finding]:
        found = look_at_settings(self._settings, variables(), beside_dev=self._beside_dev)
        found += look_at_payment_settings(self._settings)
        async with self._opened:
            opening = []
            if self._settings.database_url.get_secret_value():
                opening.append(("postgres.reachable", self._open_postgres()))
            if self._settings.redis_url.get_secret_value():
                opening.append(("redis.reachable", self._open_redis()))
            found += await self._checkup.make_all(opening, mend=UNREACHABLE)
            for group in await asyncio.gather(
                self._stores(), look_at_disk(self._checkup, self._settings.data_dir)
            ):
                found += group
        return found

    async def _open_postgres(self) -> Verdict:
        """Raises: SettingInvalid, PostgresUnavailable."""
        self._pg = await stores.open_postgres(database_url(self._settings), max_size=POOL_MAX)
        self._opened.push_async_callback(_closed, self._pg)
        return ok("connected")

    async def _open_redis(self) -> Verdict:
        """Raises: SettingInvalid, RedisUnavailable."""
        self._link = await stores.open_redis(self._settings.redis_url.get_secret_value(), timeout_s=ANSWER_S)
        self._opened.push_async_callback(self._link.close)
        return ok("connected")

    async def _stores(self) -> list[Finding]:
        """The stores, what lies in them, and upstream, which is compared with it."""
        settings, checkup = self._settings, self._checkup
        (found, ours), of_redis = await asyncio.gather(self._look_at_postgres(), self._look_at_redis())
        found += of_redis
        book, currencies = None, [CURRENCY_DEFAULT]
        if self._pg is not None and ours:
            if self._link is not None:
                found += await look_at_both(
                    checkup, self._pg, self._link, backlog_max=settings.events_backlog_max
                )
            found += await look_at_books(checkup, self._pg)
            found += await look_at_providers(checkup, self._pg, settings)
            book, currencies = await _sold(self._pg)
        if settings.litellm_base_url:
            found += await self._look_at_upstream(book, currencies)
        return found

    async def _look_at_postgres(self) -> tuple[list[Finding], bool]:
        if self._pg is None:
            return [], False
        # one `serve` with its workers, and one `work`
        wanted = self._settings.postgres_pool_max * (self._settings.workers + 1)
        return await look_at_postgres(self._checkup, self._pg, connections_wanted=wanted)

    async def _look_at_redis(self) -> list[Finding]:
        return [] if self._link is None else await look_at_redis(self._checkup, self._link)

    async def _look_at_upstream(self, book: PriceBook | None, currencies: Sequence[str]) -> list[Finding]:
        settings = self._settings
        try:
            upstream = Upstream(
                settings.litellm_base_url, connect_timeout_s=ANSWER_S, first_byte_timeout_s=ANSWER_S
            )
        except SettingInvalid as error:
            return [Finding("upstream.reachable", State.FAILED, error.message, "correct it")]
        self._opened.push_async_callback(upstream.close)
        checks = UpstreamChecks(upstream, settings.litellm_master_key.get_secret_value())
        return await checks.look(self._checkup, book, currencies)


async def _sold(pg: stores.Pool) -> tuple[PriceBook | None, list[str]]:
    """The price book, and the currencies that are billed in. Where it cannot be read (None) another check says why."""
    try:
        async with asyncio.timeout(ANSWER_S):
            async with stores.connection(pg) as db:
                rows = await db.fetch(statements.doctor.currencies)
            return await load_book(pg), [row["currency"] for row in rows] or [CURRENCY_DEFAULT]
    except Exception:
        return None, [CURRENCY_DEFAULT]


async def _closed(pg: stores.Pool) -> None:
    try:
        async with asyncio.timeout(CLOSE_S):
            await pg.close()
    except TimeoutError:
        pg.terminate()


def variables() -> set[str]:
    """The names of all variables, of the environment and of .env, in lower case."""
    sources = (EnvSettingsSource(Settings), DotEnvSettingsSource(Settings))
    return {name.lower() for source in sources for name in source.env_vars}


def _print(findings: list[Finding]) -> None:
    width = max(len(one.check) for one in findings)
    for one in findings:
        mend = f"; {one.mend}" if one.mend else ""
        print(f"{one.state.value:<7}  {one.check:<{width}}  {one.found}{mend}")
