"""PostgreSQL, broken one way at a time."""

from __future__ import annotations

import pytest
from pydantic import SecretStr

from rabbitgw import clock, stores
from rabbitgw.findings import State
from tests.doctor.conftest import Deployment


async def test_a_database_without_our_schema(deployment: Deployment) -> None:
    await deployment.execute("DELETE FROM schema_migrations WHERE name > '0003_z'")
    found = await deployment.look()
    assert found["postgres.migrations"].state is State.FAILED
    assert "lacks 0004" in found["postgres.migrations"].found
    assert "run `rabbitgw migrate`" in found["postgres.migrations"].found
    assert "postgres.role" not in found, "nothing is said about tables that may not be there"
    assert found["redis.eviction"].state is found["upstream.key"].state is State.OK


async def test_a_database_of_a_later_version(deployment: Deployment) -> None:
    await deployment.execute("INSERT INTO schema_migrations (name, sha256) VALUES ('9999_later.sql', 'x')")
    found = await deployment.unusual()
    assert found["postgres.migrations"].state is State.FAILED
    assert "9999_later.sql" in found["postgres.migrations"].found


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://rabbitgw:S3cret-of-pg@127.0.0.1:1/db",
        "postgresql://rabbitgw:S3cret-of-pg/x#y@127.0.0.1/db",
        "mysql://rabbitgw:S3cret-of-pg@127.0.0.1/db",
        "S3cret-of-pg",
    ],
)
async def test_a_wrong_url_of_postgres_is_told_and_not_shown(deployment: Deployment, url: str) -> None:
    found = await deployment.look(database_url=SecretStr(url))
    assert [name for name in found if name.startswith("postgres.")] == ["postgres.reachable"]
    assert found["postgres.reachable"].state is State.FAILED
    assert "S3cret" not in str(found)
    assert found["upstream.key"].state is State.OK


async def test_rights_that_are_too_many_or_too_few(deployment: Deployment) -> None:
    await deployment.execute("GRANT DELETE ON ledger_entries TO rabbitgw_app")
    found = (await deployment.unusual())["postgres.role"]
    assert (found.state, found.found) == (State.WARNING, "rabbitgw_app may change ledger entries")
    await deployment.execute("REVOKE SELECT ON accounts FROM rabbitgw_app")
    found = (await deployment.unusual())["postgres.role"]
    assert found.state is State.FAILED
    assert "accounts" in found.found


async def test_a_user_who_cannot_step_down_keeps_his_rights(deployment: Deployment) -> None:
    own = deployment.settings.database_url.get_secret_value()
    await deployment.execute("CREATE ROLE doctors_plain LOGIN PASSWORD 'Pw-of-plain-1'")
    try:
        await deployment.execute("GRANT ALL ON ALL TABLES IN SCHEMA public TO doctors_plain")
        host = own.rpartition("@")[2]
        found = await deployment.unusual(
            database_url=SecretStr(f"postgresql://doctors_plain:Pw-of-plain-1@{host}")
        )
        assert found["postgres.role"].state is State.WARNING
        assert "doctors_plain" in found["postgres.role"].found
        assert (
            found["postgres.role"].mend
            == "let doctors_plain be a member of rabbitgw_app who may take that role"
        )
        assert "Pw-of-plain-1" not in str(found)
    finally:
        await deployment.execute("DROP OWNED BY doctors_plain")
        await deployment.execute("DROP ROLE doctors_plain")


async def test_partitions_that_were_not_made(deployment: Deployment) -> None:
    async with stores.connection(deployment.pg) as db:
        names = await db.fetch(
            "SELECT inhrelid::regclass::text AS name FROM pg_inherits WHERE inhparent = 'usage'::regclass ORDER BY 1"
        )
    last = names[-2]["name"]  # the default one sorts behind the months
    await deployment.execute(f"DROP TABLE {last}")
    found = (await deployment.unusual())["postgres.partitions"]
    assert found.state is State.WARNING
    assert found.found.startswith(f"missing: {last};")


async def test_more_connections_than_the_server_allows(deployment: Deployment) -> None:
    found = (await deployment.unusual(postgres_pool_max=200, workers=100))["postgres.connections"]
    assert found.state is State.FAILED
    assert "may open 20200" in found.found


@pytest.mark.parametrize(
    ("ahead_ms", "state"), [(500, State.OK), (5_000, State.WARNING), (-60_000, State.FAILED)]
)
async def test_clocks_that_differ(
    deployment: Deployment, monkeypatch: pytest.MonkeyPatch, ahead_ms: int, state: State
) -> None:
    monkeypatch.setattr("rabbitgw.billing.doctor.clocks.now_ms", lambda: clock.now_ms() + ahead_ms)
    found = await deployment.look()
    assert {found["postgres.clock"].state, found["redis.clock"].state} == {state}
