"""The stores a command works on: those of the settings, else those of `rabbitgw dev` in the data directory.

So that `rabbitgw audit` beside a running `rabbitgw dev` needs no exports: dev.env says where its servers are.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from pydantic import SecretStr

from rabbitgw import stores
from rabbitgw.app import Stores, open_stores
from rabbitgw.billing import migrations
from rabbitgw.config import Settings, database_url
from rabbitgw.dev.files import read_dev_env


def command_settings() -> Settings:
    """Settings, with dev.env's servers where neither store is set. Raises: SettingInvalid."""
    settings = Settings.load()
    if settings.database_url.get_secret_value() or settings.redis_url.get_secret_value():
        return settings
    kept = read_dev_env(settings.data_dir)
    if "DATABASE_URL" not in kept or "REDIS_URL" not in kept:
        return settings
    return settings.model_copy(
        update={
            "database_url": SecretStr(kept["DATABASE_URL"]),
            "redis_url": SecretStr(kept["REDIS_URL"]),
        }
    )


@asynccontextmanager
async def both_stores() -> AsyncIterator[Stores]:
    """PostgreSQL and Redis, checked. Raises: SettingInvalid, MigrationRefused, StoreError."""
    async with open_stores(command_settings()) as opened:
        yield opened


@asynccontextmanager
async def books_only() -> AsyncIterator[stores.Pool]:
    """PostgreSQL alone, for what needs no Redis. Raises: SettingInvalid, MigrationRefused, StoreError."""
    pg = await stores.open_postgres(database_url(command_settings()), max_size=2)
    try:
        async with stores.connection(pg) as db:
            await migrations.check(db)
        yield pg
    finally:
        await pg.close()
