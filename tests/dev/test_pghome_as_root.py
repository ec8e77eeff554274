"""Root's PostgreSQL under a private home. These need root: they make files of other users."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import asyncpg
import pytest

from rabbitgw.dev import pgbinaries, pghome
from rabbitgw.dev.pgbinaries import Binaries
from rabbitgw.dev.postgres import start_postgres
from rabbitgw.errors import SettingInvalid


@pytest.fixture
def private_home() -> Iterator[Path]:
    """A folder that only root may enter, as root's home is."""
    folder = Path(tempfile.mkdtemp(prefix="rabbitgw-private-"))
    yield folder
    assert folder.stat().st_mode & 0o777 == 0o700, "a folder that was there before has been opened up"
    shutil.rmtree(folder)


@pytest.fixture(autouse=True)
def state_root(server_folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    root = server_folder / "state"
    monkeypatch.setattr(pghome, "STATE_ROOTS", (root,))
    return root


async def start_and_count(data_dir: Path) -> tuple[Path, int]:
    """Start, add a row, count the rows, stop."""
    server = await start_postgres(data_dir, fsync=False)
    try:
        connection = await asyncpg.connect(server.dsn())
        await connection.execute("create table if not exists starts (n int); insert into starts values (1)")
        count = await connection.fetchval("select count(*) from starts")
        await connection.close()
    finally:
        await server.stop()
    return server.cluster, count


async def test_the_cluster_lives_outside_and_is_found_again(private_home: Path, state_root: Path) -> None:
    cluster, count = await start_and_count(private_home / "data")
    assert count == 1
    assert cluster.is_relative_to(state_root)
    assert (private_home / "data" / "postgres").readlink() == cluster
    assert await start_and_count(private_home / "data") == (cluster, 2)


async def test_a_moved_data_directory_keeps_its_cluster(private_home: Path) -> None:
    cluster, _ = await start_and_count(private_home / "data")
    (private_home / "data").rename(private_home / "moved")
    assert await start_and_count(private_home / "moved") == (cluster, 2)


async def test_a_copied_data_directory_is_refused(private_home: Path) -> None:
    await start_and_count(private_home / "data")
    shutil.copytree(private_home / "data", private_home / "copy", symlinks=True)
    with pytest.raises(SettingInvalid, match=r"^RABBITGW_DATA_DIR: [^\n]* is a copy of [^\n]*$"):
        await start_and_count(private_home / "copy")


async def test_a_removed_data_directory_starts_afresh(private_home: Path) -> None:
    cluster, _ = await start_and_count(private_home / "data")
    shutil.rmtree(private_home / "data")
    another, count = await start_and_count(private_home / "data")
    assert another != cluster
    assert count == 1


async def test_the_wheels_binaries_are_copied_out_of_a_private_home(
    private_home: Path, state_root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wheel = next(folder for folder, from_wheel in pgbinaries.candidates() if from_wheel)
    package = next(parent for parent in wheel.parents if parent.name == pgbinaries.WHEEL_PACKAGE)
    install = wheel.parent.name
    shutil.copytree(package / install, private_home / package.name / install)
    shutil.copytree(package.with_name(f"{package.name}.libs"), private_home / f"{package.name}.libs")
    hidden = private_home / package.name / install / "bin"
    monkeypatch.setattr(pgbinaries, "candidates", lambda: iter([(hidden, True)]))
    monkeypatch.setattr(pghome, "USER_NAMES", ("nobody",))
    cluster, _ = await start_and_count(private_home / "data")
    assert cluster.owner() == "nobody"
    copies = list((state_root / "binaries").iterdir())
    assert len(copies) == 1
    assert await start_and_count(private_home / "data") == (cluster, 2)
    assert list((state_root / "binaries").iterdir()) == copies


def test_a_state_folder_that_another_user_made_is_not_used(
    server_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    foreign = server_folder / "foreign"
    foreign.mkdir()
    shutil.chown(foreign, "nobody")
    monkeypatch.setattr(pghome, "STATE_ROOTS", (foreign,))
    with pytest.raises(SettingInvalid, match="DATABASE_URL"):
        pghome.state_root()


def test_another_version_than_the_clusters_is_not_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    here: list[Binaries] = [pgbinaries.find()]
    with pytest.raises(SettingInvalid, match=rf"no PostgreSQL 9 .*found.* {here[0].major} in "):
        pgbinaries.find(9)
