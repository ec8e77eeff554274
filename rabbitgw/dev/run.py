"""`rabbitgw dev`: everything in one process and its children, from nothing to a paid stream.

Starts what no setting names (PostgreSQL, Redis, a demo upstream), migrates, makes a first account with credit, and in
it a user with a key, serves, keeps the books, and leaves the addresses and keys in `<data dir>/dev.env`. Data survive
a restart.
"""

from __future__ import annotations

import asyncio
import secrets
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Final

from pydantic import SecretStr

from rabbitgw.api.metrics import metrics_port
from rabbitgw.app import (
    Gateway,
    Stores,
    bookkeepers_of,
    observe,
    open_payments,
    open_stores,
    stop_on_signals,
)
from rabbitgw.billing import accounts, keys, users, wallets
from rabbitgw.billing.loops import first_of
from rabbitgw.billing.migrations import migrate
from rabbitgw.billing.partitions import Partitions
from rabbitgw.billing.price_book import append_prices
from rabbitgw.billing.price_text import price_from_text
from rabbitgw.config import Settings, database_url
from rabbitgw.dev.demo_upstream import start_demo_upstream
from rabbitgw.dev.files import FolderLock, make_data_dir, read_dev_env, write_dev_env
from rabbitgw.dev.postgres import start_postgres
from rabbitgw.dev.redis import start_redis
from rabbitgw.money import NANOS_PER_UNIT

FIRST_CREDIT_NANOS: Final = 100 * NANOS_PER_UNIT
DEMO_PRICES: Final = {
    "demo-small": {"input": "0.15", "output": "0.60"},
    "demo-large": {"input": "2.50", "output": "10"},
    "demo-embed": {"input": "0.02"},
}
DEMO_PIECES: Final = {
    "demo-image": {"images": "0.04"},
    "demo-speech": {"characters": "0.000015"},
    "demo-ears": {"minutes": "0.006"},
}


async def dev(settings: Settings) -> None:
    """Run until SIGTERM or SIGINT; then end everything that was started, in reverse.

    Raises: SettingInvalid (one line: a port or folder in use, nothing to start), StoreError.
    """
    observe(settings)
    stop = stop_on_signals()
    data_dir = make_data_dir(settings.data_dir)
    async with AsyncExitStack() as started:
        started.enter_context(FolderLock(data_dir, "dev"))
        settings = await start_missing(settings, data_dir, started)
        await migrate(database_url(settings))
        opened = await started.enter_async_context(open_stores(settings))
        await Partitions(opened.pg).run_once()  # before the first row of this month is written
        env = await first_account(opened, settings, data_dir)
        payments = await started.enter_async_context(open_payments(settings, opened))
        gateway = Gateway(settings, opened, payments=payments)
        await started.enter_async_context(metrics_port(settings, gateway.scrape))
        books = bookkeepers_of(settings, opened, payments)
        await gateway.start()
        address = base_url(settings, gateway.port)
        write_dev_env(data_dir, {**sdk_variables(address, env["OPENAI_API_KEY"]), **env})
        work = asyncio.create_task(books.run(books_stop := asyncio.Event()))
        print(f"rabbitgw ready on {address}", flush=True)
        print(f"keys and addresses: {data_dir / 'dev.env'}", flush=True)
        # the books stop by themselves only where a loop of theirs has failed
        await first_of(stop, gateway.failed, books_stop)
        await gateway.stop()
        books_stop.set()
        await work
        gateway.raise_if_failed()


async def start_missing(settings: Settings, data_dir: Path, started: AsyncExitStack) -> Settings:
    """Start what no setting names, and return the settings with its addresses filled in."""
    found: dict[str, object] = {"data_dir": data_dir}
    if not settings.database_url.get_secret_value():
        postgres = await start_postgres(data_dir)
        started.push_async_callback(postgres.stop)
        found["database_url"] = SecretStr(postgres.dsn())
    if not settings.redis_url.get_secret_value():
        redis = await start_redis(data_dir)
        started.push_async_callback(redis.stop)
        found["redis_url"] = SecretStr(redis.url)
    if not settings.litellm_base_url:
        upstream = await start_demo_upstream(word_delay_s=0.02)
        started.push_async_callback(upstream.stop)
        found["litellm_base_url"] = upstream.base_url
    if not settings.admin_key.get_secret_value():
        kept = read_dev_env(data_dir).get("RABBITGW_ADMIN_KEY")
        found["admin_key"] = SecretStr(kept or f"rga-{secrets.token_urlsafe(24)}")
    if not settings.dev_api_key.get_secret_value() and not settings.stripe_live:
        kept = read_dev_env(data_dir).get("DEV_API_KEY")
        found["dev_api_key"] = SecretStr(kept or f"rgd-{secrets.token_urlsafe(24)}")
    return settings.model_copy(update=found)


async def first_account(opened: Stores, settings: Settings, data_dir: Path) -> dict[str, str]:
    """Account 1 with credit, in it user 1 with a key, and the demo models' prices; on a later start, what is there."""
    kept = read_dev_env(data_dir)
    known = await accounts.list_accounts(opened.pg, rows_max=1)
    account = known[0] if known else await accounts.create_account(opened.pg, "dev")
    if not known:
        prices = [price_from_text(model, rates) for model, rates in DEMO_PRICES.items()]
        prices += [price_from_text(model, {}, units=pieces) for model, pieces in DEMO_PIECES.items()]
        await append_prices(opened.pg, prices)
    # the key makes it once, however often a start was cut short here
    await wallets.credit(
        opened.pg,
        account,
        currency=account.currency,
        amount_nanos=FIRST_CREDIT_NANOS,
        idempotency_key="dev-first-credit",
    )
    persons = await users.list_users(opened.pg, account.id, rows_max=1)
    user = persons[0] if persons else await users.create_user(opened.pg, account.id, "dev")
    secret = kept.get("OPENAI_API_KEY")
    if secret is None:
        new = keys.NewKey(account_id=account.id, name="dev", user_id=user.id)
        created = await keys.create_key(opened.pg, new)
        secret = created.secret
    dev_key = settings.dev_api_key.get_secret_value()
    return {
        "OPENAI_API_KEY": secret,
        "RABBITGW_ADMIN_KEY": settings.admin_key.get_secret_value(),
        **({"DEV_API_KEY": dev_key} if dev_key else {}),
        "DATABASE_URL": database_url(settings),
        "REDIS_URL": settings.redis_url.get_secret_value(),
    }


def sdk_variables(address: str, secret: str) -> dict[str, str]:
    """What the official SDKs read, by their own names: OpenAI's wants /v1 in its address, Anthropic's adds it."""
    return {
        "OPENAI_BASE_URL": f"{address}/v1",
        "OPENAI_API_KEY": secret,
        "ANTHROPIC_BASE_URL": address,
        "ANTHROPIC_API_KEY": secret,
    }


def base_url(settings: Settings, port: int) -> str:
    return f"http://{settings.host}:{port}"
