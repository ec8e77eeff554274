"""The look as a whole: in order, bounded, undisturbed, without secrets; and the command."""

from __future__ import annotations

import asyncio
import json
from argparse import Namespace
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from rabbitgw import cli, telemetry
from rabbitgw.cli_doctor import Doctor, run_doctor
from rabbitgw.config import Settings
from rabbitgw.dev.files import write_dev_env
from rabbitgw.findings import Finding, State, Verdict
from tests.doctor.conftest import ADMIN_KEY, MASTER_KEY, USUAL, Deployment
from tests.fakes.openai_upstream import FakeUpstream, Hang


async def test_a_deployment_in_order_has_nothing_to_mend(deployment: Deployment) -> None:
    found = await deployment.look()
    assert {name: one.state for name, one in found.items() if one.state is not State.OK} == {
        **USUAL,
        "upstream.open": State.WARNING,  # the fake one takes any key
    }
    assert found["redis.epoch"].found == "both stores are in epoch 1, in all 64 partitions"
    assert found["postgres.role"].found.startswith("connections work as rabbitgw_app")
    assert found["upstream.version"].found == "LiteLLM 1.106.2, which was tested"
    assert found["prices.missing"].found == "models with a price in USD: all 1"
    assert deployment.link.server_run_id in found["redis.version"].found


async def test_what_does_not_answer_is_not_waited_for(deployment: Deployment, upstream: FakeUpstream) -> None:
    async def mute(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await asyncio.gather(reader.read(), gone.wait())
        writer.close()

    gone = asyncio.Event()
    upstream.script("/health/liveliness", Hang())
    server = await asyncio.start_server(mute, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    changed = deployment.settings.model_copy(
        update={
            "database_url": SecretStr(f"postgresql://u:p@127.0.0.1:{port}/db"),
            "redis_url": SecretStr(f"redis://127.0.0.1:{port}/0"),
        }
    )
    found = {one.check: one for one in await Doctor(changed, limit_s=0.3).findings()}
    gone.set()
    server.close()
    await server.wait_closed()
    for name in ("postgres.reachable", "redis.reachable", "upstream.reachable"):
        assert (found[name].state, found[name].found) == (State.FAILED, "no answer within 0.3 s"), name
    assert found["disk.writable"].state is State.OK


async def test_a_check_that_breaks_stops_no_other(
    deployment: Deployment, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def broken(*_: Any) -> Verdict:
        raise ZeroDivisionError(f"of {MASTER_KEY}")

    monkeypatch.setattr("rabbitgw.billing.doctor.redis._memory", broken)
    found = await deployment.unusual()
    assert found["redis.memory"].found == "not checked: ZeroDivisionError: of ***"
    assert set(found) == {"redis.memory", "upstream.open"}


async def test_the_command_prints_a_line_per_check_and_no_secret(
    deployment: Deployment, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    settings = deployment.settings
    monkeypatch.setattr("rabbitgw.cli_doctor.command_settings", lambda: settings)
    for broken in (False, True):
        if broken:
            await deployment.link.call("CONFIG", "SET", "maxmemory-policy", "allkeys-lru")
        assert await run_doctor(Namespace(json=False)) == 1
        text = capsys.readouterr().out
        assert await run_doctor(Namespace(json=True)) == 1
        body = capsys.readouterr().out
        report = json.loads(body)
        lines = text.splitlines()
        assert len(lines) == len(report["checks"]) + 1
        for line, check in zip(lines, report["checks"], strict=False):
            assert line.split()[:2] == [check["state"], check["check"]]
        assert "run `rabbitgw audit`" in lines[-1]
        assert report["counts"]["failed"] == (2 if broken else 1)
        secrets = (ADMIN_KEY, MASTER_KEY, deployment.redis.password, password_of(settings))
        assert not [secret for secret in secrets if secret in text + body]


def password_of(settings: Settings) -> str:
    return settings.database_url.get_secret_value().partition("//")[2].rpartition("@")[0].partition(":")[2]


@pytest.mark.parametrize(("states", "status"), [("ok ok", 0), ("ok warning", 0), ("warning failed", 1)])
def test_the_exit_status_is_1_only_if_a_check_failed(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], states: str, status: int
) -> None:
    async def findings(_: Doctor) -> list[Finding]:
        return [
            Finding(f"check.{n}", State(state), "found", "mend") for n, state in enumerate(states.split())
        ]

    monkeypatch.setattr(Doctor, "findings", findings)
    monkeypatch.setattr(telemetry, "configure", lambda level: None)
    assert cli.main(["doctor"]) == status
    assert capsys.readouterr().out.splitlines()[0].endswith("check.0  found; mend")


def test_a_setting_that_cannot_be_read_is_a_finding(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(telemetry, "configure", lambda level: None)
    monkeypatch.setenv("RABBITGW_PORT", "many")
    assert cli.main(["doctor", "--json"]) == 1
    (check,) = json.loads(capsys.readouterr().out)["checks"]
    assert check["found"].startswith("RABBITGW_PORT: ")


def test_beside_dev_its_stores_are_looked_at(
    dsn: str,
    redis_url: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(telemetry, "configure", lambda level: None)
    monkeypatch.chdir(tmp_path)
    (tmp_path / ".rabbitgw").mkdir()
    write_dev_env(tmp_path / ".rabbitgw", {"DATABASE_URL": dsn, "REDIS_URL": redis_url})
    cli.main(["doctor", "--json"])
    checks = {one["check"]: one["state"] for one in json.loads(capsys.readouterr().out)["checks"]}
    assert checks["settings.dev"] == checks["redis.reachable"] == checks["postgres.migrations"] == "ok"
    assert "settings.LITELLM_BASE_URL" not in checks
