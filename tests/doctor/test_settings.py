"""Settings and disk."""

from __future__ import annotations

import pytest
from pydantic import SecretStr

from rabbitgw.billing.doctor.settings import weakness
from rabbitgw.billing.spool import Spool
from rabbitgw.findings import State
from tests.doctor.conftest import ADMIN_KEY, Deployment


async def test_settings_that_are_missing_weak_or_misspelt(
    deployment: Deployment, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RABBITGW_ADMINKEY", "Misspelt-and-secret-1")
    weak = await deployment.unusual(admin_key=SecretStr("s3same"), hold_max_age_s=60)
    assert weak["settings.RABBITGW_ADMIN_KEY"].state is State.WARNING
    assert "fewer than 20 characters" in weak["settings.RABBITGW_ADMIN_KEY"].found
    assert weak["settings.unknown"].found.startswith("no setting is named RABBITGW_ADMINKEY")
    assert weak["settings.times"].state is State.WARNING
    assert "s3same" not in str(weak)
    assert "Misspelt-and-secret-1" not in str(weak)
    nothing = {"database_url": SecretStr(""), "redis_url": SecretStr(""), "litellm_base_url": ""}
    none = await deployment.look(**nothing, admin_key=SecretStr(""), litellm_master_key=SecretStr(""))
    assert {name: one.state.value for name, one in none.items() if not name.startswith("disk.")} == {
        "settings.DATABASE_URL": "failed",
        "settings.REDIS_URL": "failed",
        "settings.LITELLM_BASE_URL": "failed",
        "settings.LITELLM_MASTER_KEY": "warning",
        "settings.RABBITGW_ADMIN_KEY": "warning",
        "settings.times": "ok",
        "settings.unknown": "warning",
    }


@pytest.mark.parametrize(
    ("secret", "weak"),
    [
        ("a-long-random-text", True),
        ("sk-1234", True),
        ("abababababababababababababab", True),
        ("my-admin-password-2026", True),
        (ADMIN_KEY, False),
        ("3f9c0a7be1d24568a0b1c2d3e4f56789" * 2, False),
    ],
)
def test_a_weak_secret_is_known(secret: str, weak: bool) -> None:
    reason = weakness(secret)
    assert (reason is not None) == weak
    assert secret not in str(reason)


async def test_a_charge_of_a_dead_gateway_that_waits(deployment: Deployment) -> None:
    folder = deployment.settings.data_dir / "spool"
    line = b'{"id": "a", "record": "x"}\n{"id": "b", "record": "y"}\n{"id": "a", "record": null}\n'
    (folder / "dead.spool").write_bytes(line)
    live = Spool(folder, "live")
    await live.keep("c", b"z")
    found = (await deployment.unusual())["disk.spool"]
    assert found.state is State.WARNING
    assert found.found == "charges that wait on disk: 1, of dead gateways: 1"
    starting = Spool(folder, "next")
    assert starting.adopt() == [b"y"], "a gateway that starts finds it as it was"
    starting.close()
    await live.drop("c")
    live.close()


async def test_a_disk_that_takes_nothing(deployment: Deployment, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = deployment.settings.data_dir / "spool"
    assert (await deployment.look())["disk.writable"].state is State.OK
    assert list(folder.iterdir()) == []
    folder.rmdir()
    assert (await deployment.look())["disk.writable"].found.endswith("will be made")
    assert not folder.exists()
    folder.write_text("no folder")
    assert (await deployment.unusual())["disk.writable"].state is State.FAILED
    monkeypatch.setattr("rabbitgw.billing.doctor.disk.FREE_WARNING", 2**62)
    assert (await deployment.unusual())["disk.free"].state is State.WARNING
    monkeypatch.setattr("rabbitgw.billing.doctor.disk.FREE_FAILED", 2**62)
    assert (await deployment.unusual())["disk.free"].state is State.FAILED
