"""The command line: what it prints, and its exit status."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import asyncpg
import pytest

from rabbitgw import cli, telemetry
from rabbitgw.billing.key_secret import well_formed
from rabbitgw.dev.files import write_dev_env

if TYPE_CHECKING:
    from tests.conftest import PostgresForTests


def run_sql(dsn: str, statement: str) -> None:
    async def execute() -> None:
        connection = await asyncpg.connect(dsn)
        await connection.execute(statement)
        await connection.close()

    asyncio.run(execute())


@pytest.fixture
def empty_dsn(postgres_server: PostgresForTests) -> Iterator[str]:
    run_sql(postgres_server.dsn("postgres"), "CREATE DATABASE empty_for_cli")
    yield postgres_server.dsn("empty_for_cli")
    run_sql(postgres_server.dsn("postgres"), "DROP DATABASE empty_for_cli WITH (FORCE)")


class Shell:
    """Runs commands in this process and reads what they printed."""

    def __init__(self, capsys: pytest.CaptureFixture[str]) -> None:
        self._capsys = capsys
        self.stderr = ""

    def run(self, *words: str, status: int = 0) -> str:
        self._capsys.readouterr()
        found = cli.main(words)
        stdout, self.stderr = self._capsys.readouterr()
        assert found == status, stdout + self.stderr
        return stdout

    def json(self, *words: str, status: int = 0) -> dict[str, Any]:
        body: dict[str, Any] = json.loads(self.run(*words, "--json", status=status))
        return body

    def refused(self, *words: str) -> str:
        """The one line of a command that fails."""
        assert self.run(*words, status=1) == ""
        (line,) = self.stderr.splitlines()
        assert line.startswith("rabbitgw: ")
        return line.removeprefix("rabbitgw: ")


@pytest.fixture
def bare(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Shell:
    """A shell without settings, in an empty folder."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(telemetry, "configure", lambda level: None)
    return Shell(capsys)


@pytest.fixture
def shell(bare: Shell, dsn: str, redis_url: str, monkeypatch: pytest.MonkeyPatch) -> Shell:
    monkeypatch.setenv("DATABASE_URL", dsn)
    monkeypatch.setenv("REDIS_URL", redis_url)
    return bare


def test_from_an_account_to_a_key_and_credit(shell: Shell) -> None:
    account = shell.json("accounts", "create", "Acme")
    account_id = str(account["id"])
    made = shell.json(
        "keys",
        "create",
        account_id,
        "main",
        "--model",
        "gpt-*",
        "--model",
        "claude-*",
        "--daily-limit",
        "1.5",
    )
    assert well_formed(made["key"])
    assert made["in_effect"] is True
    (key,) = shell.json("keys", "list", "--account", account_id)["keys"]
    assert (key["models"], key["daily_limit_nanos"]) == (["gpt-*", "claude-*"], 1_500_000_000)

    credit = ("wallets", "credit", account_id, "12.50", "--idempotency-key", "k")
    assert shell.json(*credit)["balance_nanos"] == 12_500_000_000
    assert shell.json(*credit)["balance_nanos"] == 12_500_000_000
    (wallet,) = shell.json("wallets", "show", account_id)["wallets"]
    assert (wallet["available_nanos"], wallet["balance"]) == (12_500_000_000, "12.500000000")

    rotated = shell.json("keys", "rotate", str(key["id"]))
    assert rotated["id"] == key["id"]
    assert rotated["key"] != made["key"]
    assert shell.json("keys", "revoke", str(key["id"]))["revoked_at"] is not None
    assert "revoked" in shell.refused("keys", "rotate", str(key["id"]))
    assert shell.json("audit")["ok"] is True


def test_a_key_is_shown_and_changed(shell: Shell) -> None:
    shell.run("accounts", "create", "Acme")
    notes = ("--metadata", "crm=17", "--metadata", "url=a=b", "--tag", "prod", "--tag", "eu")
    shell.run("keys", "create", "1", "main", "--daily-limit", "1.5", "--model", "gpt-*", *notes)
    key = shell.json("keys", "show", "1")
    assert (key["metadata"], key["tags"], key["generation"]) == (
        {"crm": "17", "url": "a=b"},
        ["prod", "eu"],
        1,
    )
    lines = [line.split(maxsplit=2) for line in shell.run("keys", "show", "1").splitlines()]
    assert ["daily", "limit", "1.500000000"] in lines
    assert ["metadata", "crm=17,url=a=b"] in lines
    assert ["state", "active"] in lines

    fields = ("--deny-model", "*-preview", "--scope", "chat", "--allow-ip", "203.0.113.9")
    more = ("--name", "other", "--metadata", "a=", "--expires-at", "2099-01-01T00:00:00Z")
    changed = shell.json("keys", "change", "1", *fields, *more, "--clear", "models", "--clear", "tags")
    expected = {
        "name": "other",
        "models": None,
        "models_denied": ["*-preview"],
        "scopes": ["chat"],
        "ip_allowlist": ["203.0.113.9/32"],
        "metadata": {"a": ""},
        "tags": [],
        "expires_at": "2099-01-01T00:00:00.000Z",
        "daily_limit_nanos": 1_500_000_000,
        "generation": 2,
        "in_effect": True,
    }
    assert changed.items() >= expected.items()
    assert "generation is 3" in shell.run("keys", "change", "1", "--name", "x", "--if-generation", "2")
    assert 'ETag is "3"' in shell.refused("keys", "change", "1", "--name", "y", "--if-generation", "2")
    assert "nothing to change" in shell.refused("keys", "change", "1")
    assert "--clear tags" in shell.refused("keys", "change", "1", "--tag", "a", "--clear", "tags")
    assert "'crm' is not NAME=VALUE" in shell.refused("keys", "change", "1", "--metadata", "crm")
    assert "key 9 does not exist" in shell.refused("keys", "show", "9")
    assert shell.json("keys", "show", "1")["name"] == "x"


def test_a_user_and_its_key_are_disabled_and_enabled(shell: Shell) -> None:
    shell.run("accounts", "create", "Acme")
    user = shell.json("users", "create", "1", "Ann", "--email", "Ann@Example.com", "--external-id", "crm-17")
    assert (user["id"], user["email"], user["disabled_at"]) == (1, "ann@example.com", None)
    shell.run("keys", "create", "1", "main", "--user", "1")
    (key,) = shell.json("keys", "list")["keys"]
    assert key["user_id"] == 1
    disabled = shell.json("users", "disable", "1")
    assert (disabled["in_effect"], disabled["disabled_at"] is None) == (True, False)
    assert "user disabled" in shell.run("keys", "list")
    assert shell.json("users", "list", "--account", "1")["users"][0]["disabled_at"] == disabled["disabled_at"]
    assert "disabled" in shell.run("users", "list").splitlines()[1]
    assert "user 1 is disabled" in shell.refused("keys", "create", "1", "more", "--user", "1")
    assert shell.run("users", "enable", "1") == "user 1 (Ann) is enabled\n"
    assert shell.run("users", "list").splitlines()[1].split()[-1] == "active"
    assert shell.run("users", "create", "1", "Bob") == "user 2 in account 1: Bob\n"
    assert shell.json("users", "list", "--account", "2") == {"users": []}
    assert shell.run("teams", "create", "1", "Sales") == "team 1 in account 1: Sales\n"
    assert shell.run("teams", "list").splitlines()[1].split() == ["1", "1", "Sales"]
    assert shell.json("users", "create", "1", "Cy", "--team", "1")["team_id"] == 1
    assert shell.json("teams", "list", "--account", "2") == {"teams": []}


def test_tables_for_people(shell: Shell) -> None:
    assert shell.run("accounts", "create", "Acme").startswith("account 1 (USD): Acme")
    secret = shell.run("keys", "create", "1", "main").split()[-1]
    assert well_formed(secret)
    assert "only time" in shell.stderr
    shell.run("wallets", "credit", "1", "3")
    assert "ID  NAME  CURRENCY  CREATED" in shell.run("accounts", "list")
    header, row = shell.run("keys", "list").splitlines()
    assert header.split()[:5] == ["ID", "ACCOUNT", "NAME", "PREFIX", "STATE"]
    assert row.split()[:5] == ["1", "1", "main", secret[:10], "active"]
    assert "3.000000000" in shell.run("wallets", "show", "1")
    assert secret not in shell.run("keys", "list")
    assert "the books agree" in shell.run("audit")
    assert "price version 1: gpt-4o in USD" in shell.run(
        "prices", "set", "gpt-4o", "--input", "2.50", "--output", "10"
    )
    assert "2.500000000" in shell.run("prices", "list")


def test_prices_are_exact_and_multiplied(shell: Shell) -> None:
    price = shell.json("prices", "set", "gpt-4o", "--input", "2.50", "--output", "10")
    assert (price["input_nanos_per_mtok"], price["output_nanos_per_mtok"]) == (2_500_000_000, 10_000_000_000)
    dearer = shell.json(
        "prices", "set", "dear", "--base", "gpt-4o", "--input-multiplier", "1.2", "--output-multiplier", "1.5"
    )
    assert (dearer["input_nanos_per_mtok"], dearer["output_nanos_per_mtok"]) == (
        3_000_000_000,
        15_000_000_000,
    )
    assert [price["pattern"] for price in shell.json("prices", "list")["prices"]] == ["dear", "gpt-4o"]
    assert "no price for 'nothing'" in shell.refused("prices", "set", "x", "--base", "nothing")


def test_prices_are_imported_from_a_file(shell: Shell, tmp_path: Path) -> None:
    entry = {"input_cost_per_token": 2.5e-06, "output_cost_per_token": 1e-05, "mode": "chat"}
    file = tmp_path / "map.json"
    file.write_text(json.dumps({"gpt-4o": entry, "odd": {"mode": "nonsense"}}))
    report = shell.json("prices", "import", str(file))
    assert (report["added"], list(report["refused"])) == (1, ["odd"])
    assert shell.json("prices", "import", str(file))["unchanged"] == 1
    (price,) = shell.json("prices", "list")["prices"]
    assert price["input_nanos_per_mtok"] == 2_500_000_000
    assert "no-such-file" in shell.refused("prices", "import", "no-such-file")


@pytest.mark.parametrize(
    ("words", "part"),
    [
        (("keys", "create", "99", "x"), "account 99 does not exist"),
        (("keys", "revoke", "99"), "key 99 does not exist"),
        (("users", "create", "99", "x"), "account 99 does not exist"),
        (("users", "disable", "99"), "user 99 does not exist"),
        (("users", "create", "1", "x", "--email", "nobody"), "email"),
        (("wallets", "show", "99"), "account 99 does not exist"),
        (("wallets", "credit", "99", "1"), "account 99 does not exist"),
        (("accounts", "create", " "), "name"),
        (("accounts", "create", "x", "--currency", "Euro"), "currency"),
        (("keys", "create", "1", "x", "--daily-limit", "ten"), "daily_limit"),
        (("keys", "create", "1", "x", "--expires-at", "soon"), "expires_at"),
        (("prices", "set", "x"), "at least one rate"),
    ],
)
def test_a_failure_is_one_line_and_status_1(shell: Shell, words: tuple[str, ...], part: str) -> None:
    assert part in shell.refused(*words)


@pytest.mark.parametrize(
    "words",
    [
        (),
        ("nonsense",),
        ("keys",),
        ("keys", "revoke", "x"),
        ("keys", "revoke", "-1"),
        ("keys", "revoke", "9223372036854775808"),
        ("serve", "--workers", "0"),
        ("wallets", "credit", "1"),
        ("accounts", "list", "--page", "2"),
    ],
)
def test_a_wrong_command_is_status_2(bare: Shell, words: tuple[str, ...]) -> None:
    with pytest.raises(SystemExit) as left:
        cli.main(words)
    assert left.value.code == 2


def test_a_missing_or_wrong_setting_is_named(bare: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    assert bare.refused("accounts", "list").startswith("DATABASE_URL: not set")
    monkeypatch.setenv("DATABASE_URL", "mysql://x")
    assert bare.refused("accounts", "list").startswith("DATABASE_URL: ")
    monkeypatch.setenv("RABBITGW_PORT", "many")
    assert bare.refused("accounts", "list").startswith("RABBITGW_PORT: ")


def test_commands_beside_dev_find_its_servers(bare: Shell, dsn: str, redis_url: str, tmp_path: Path) -> None:
    (tmp_path / ".rabbitgw").mkdir()
    write_dev_env(tmp_path / ".rabbitgw", {"DATABASE_URL": dsn, "REDIS_URL": redis_url})
    assert bare.json("accounts", "list") == {"accounts": []}
    assert bare.json("audit")["ok"] is True


def test_an_unmigrated_database_says_what_to_do(
    bare: Shell, empty_dsn: str, redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DATABASE_URL", empty_dsn)
    monkeypatch.setenv("REDIS_URL", redis_url)
    assert "run `rabbitgw migrate`" in bare.refused("accounts", "list")
    assert "0001_accounts.sql" in bare.json("migrate")["applied"]
    assert bare.run("migrate") == "nothing to apply\n"
    assert bare.json("accounts", "list") == {"accounts": []}


def test_an_audit_that_finds_a_breach_is_status_1(shell: Shell, dsn: str) -> None:
    shell.run("accounts", "create", "Acme")
    shell.run("wallets", "credit", "1", "3")
    assert shell.json("audit")["ok"] is True
    run_sql(dsn, "UPDATE wallets SET balance_nanos = balance_nanos + 1")
    report = shell.json("audit", status=1)
    assert report["ok"] is False
    assert "BREACH" in shell.run("audit", status=1)


def test_rebuild_raises_the_epoch(shell: Shell) -> None:
    shell.run("accounts", "create", "Acme")
    shell.run("wallets", "credit", "1", "3")
    assert shell.json("rebuild")["epoch"] == 2
    assert shell.json("wallets", "show", "1")["wallets"][0]["balance_nanos"] == 3_000_000_000
    assert shell.json("audit")["ok"] is True


def test_the_module_runs_as_a_program() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "rabbitgw", "--version"], capture_output=True, text=True, check=True
    )
    assert done.stdout.startswith("rabbitgw ")


def test_a_wrong_price_is_corrected_by_one_command(shell: Shell, dsn: str, redis_url: str) -> None:
    from rabbitgw.stores import open_postgres, open_redis
    from tests.billing.rerated import HOUR_MS, Till, sell
    from tests.books import Shop, drain

    async def trade() -> int:
        pg, link = await open_postgres(dsn), await open_redis(redis_url)
        await sell(pg)
        till = Till(await Shop.open(pg, link))
        customer = await till.shop.customer(300_000)
        await till.call(customer)
        await till.call(customer, 139_999)
        await drain(pg, link)
        await link.close()
        await pg.close()
        return till.began_ms

    ends_ms = asyncio.run(trade())
    wrong = ("rerate", "--price-version", "3", "--from", str(ends_ms - HOUR_MS), "--to", str(ends_ms))
    dry = shell.run(*wrong, "--to-version", "5")
    assert "1 calls of 1 accounts would be corrected from price version 3 to version 5" in dry
    assert "0.000140000 USD become 0.000280000 USD" in dry
    assert "1 calls are left as they are: its counts" in shell.stderr
    assert "1 wallets would go below zero" in shell.stderr
    assert "nothing was written" in shell.stderr
    rates = ("--input", "0.5", "--output", "3")
    assert "no longer in effect" in shell.refused(*wrong, *rates)
    assert "--apply needs one" in shell.refused(*wrong, "--to-version", "5", "--apply")
    assert "without --apply" in shell.refused(*wrong, "--to-version", "5", "--idempotency-key", "k")
    assert "from: must be a time with its zone" in shell.refused(*wrong, "--from", "2026-11-01")
    run = (*wrong, "--to-version", "5", "--apply", "--idempotency-key", "k", "--allow-overdraft")
    for _ in range(2):
        assert shell.json(*run)["difference_nanos"] == 140_000
    assert shell.json("wallets", "show", "1")["wallets"][0]["balance_nanos"] == -119_999
    assert shell.json("audit")["ok"] is True
