from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from pathlib import Path

import asyncpg
import pytest

from rabbitgw.dev import pgbinaries
from rabbitgw.dev.pgbinaries import Binaries
from rabbitgw.dev.postgres import PostgresServer, start_postgres
from rabbitgw.errors import PostgresUnavailable, SettingInvalid
from tests.dev.conftest import alive


async def ask(server: PostgresServer, question: str) -> object:
    connection = await asyncpg.connect(server.dsn())
    try:
        return await connection.fetchval(question)
    finally:
        await connection.close()


async def do(server: PostgresServer, *statements: str) -> None:
    connection = await asyncpg.connect(server.dsn())
    try:
        for statement in statements:
            await connection.execute(statement)
    finally:
        await connection.close()


def uid_of(pid: int) -> int:
    return Path(f"/proc/{pid}").stat().st_uid


async def test_first_start_makes_a_closed_cluster(server_folder: Path) -> None:
    server = await start_postgres(server_folder)
    try:
        assert await ask(server, "select current_database()") == "rabbitgw"
        assert await ask(server, "show data_checksums") == "on"
        assert await ask(server, "show listen_addresses") == "127.0.0.1"
        assert await ask(server, "show server_encoding") == "UTF8"
        assert await ask(server, "show fsync") == "on"
        assert uid_of(server.pid) != 0
        with pytest.raises(asyncpg.InvalidPasswordError):
            await asyncpg.connect(server.dsn().replace(server.password, "wrong"))
        methods = "select string_agg(distinct auth_method, ',') from pg_hba_file_rules"
        assert await ask(server, methods) == "scram-sha-256"
        assert (server_folder / "postgres.password").stat().st_mode & 0o777 == 0o600
    finally:
        await server.stop()
    assert not alive(server.pid)


async def test_a_restart_keeps_data_port_and_password(server_folder: Path) -> None:
    first = await start_postgres(server_folder)
    await do(first, "create table kept (n int)", "insert into kept values (41)")
    await first.stop()
    second = await start_postgres(server_folder)
    try:
        assert await ask(second, "select n from kept") == 41
        assert second.dsn() == first.dsn()
    finally:
        await second.stop()


async def test_it_recovers_from_a_kill_with_clients_connected(server_folder: Path) -> None:
    server = await start_postgres(server_folder)
    await do(server, "create table kept (n int)")
    client = await asyncpg.connect(server.dsn())
    await client.execute("insert into kept values (42)")
    await server.kill()
    again = await start_postgres(server_folder)
    client.terminate()
    try:
        assert await ask(again, "select n from kept") == 42
    finally:
        await again.stop()


async def test_a_stale_pid_file_that_names_a_living_process_is_no_obstacle(server_folder: Path) -> None:
    server = await start_postgres(server_folder)
    pid_file = server.cluster / "postmaster.pid"
    text = pid_file.read_text()
    owner = pid_file.stat()
    await server.stop()
    bystander = subprocess.Popen(["sleep", "600"], user=owner.st_uid) if os.geteuid() == 0 else None
    try:
        pid = bystander.pid if bystander else os.getpid()
        pid_file.write_text(text.replace(str(server.pid), str(pid), 1))
        os.chown(pid_file, owner.st_uid, owner.st_gid)
        again = await start_postgres(server_folder)
        await again.stop()
        assert bystander is None or bystander.poll() is None
    finally:
        if bystander is not None:
            bystander.kill()
            bystander.wait()


async def test_two_data_directories_run_side_by_side(server_folder: Path) -> None:
    one, two = await asyncio.gather(
        start_postgres(server_folder / "one", fsync=False), start_postgres(server_folder / "two", fsync=False)
    )
    try:
        assert one.port != two.port
        assert one.password != two.password
        assert await ask(one, "select 1") == await ask(two, "select 1") == 1
    finally:
        await one.stop()
        await two.stop()


async def test_a_second_run_on_one_data_directory_gets_one_line(server_folder: Path) -> None:
    server = await start_postgres(server_folder, fsync=False)
    try:
        with pytest.raises(SettingInvalid, match=rf"^RABBITGW_DATA_DIR: .* \(pid {os.getpid()}\)[^\n]*$"):
            await start_postgres(server_folder)
        assert server.child.running
    finally:
        await server.stop()


def found_binaries() -> list[Binaries]:
    """Every set on this machine; the wheel of the test extra brings two."""
    sets = []
    for folder, from_wheel in pgbinaries.candidates():
        major = pgbinaries.major_of(folder)
        if major is not None and major >= pgbinaries.MAJOR_MIN:
            sets.append(Binaries(folder, major, from_wheel))
    return list({found.folder: found for found in sets}.values())


@pytest.mark.parametrize("binaries", found_binaries(), ids=lambda found: found.folder.parent.name)
async def test_every_binary_found_here_works_and_is_kept_for_its_cluster(
    binaries: Binaries, server_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as only_this:
        only_this.setattr(pgbinaries, "candidates", lambda: iter([(binaries.folder, binaries.from_wheel)]))
        server = await start_postgres(server_folder)
        await do(server, "create table kept (n int)")
        await server.stop()
    again = await start_postgres(server_folder)  # the usual order may prefer another version
    try:
        assert again.major == binaries.major
        assert await ask(again, "select count(*) from kept") == 0
    finally:
        await again.stop()


async def test_without_binaries_the_start_stops_with_one_line(
    server_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pgbinaries, "candidates", lambda: iter(()))
    with pytest.raises(SettingInvalid, match=r"^DATABASE_URL: [^\n]*install[^\n]*$"):
        await start_postgres(server_folder)


async def test_a_failed_start_shows_the_end_of_the_log(server_folder: Path) -> None:
    server = await start_postgres(server_folder, fsync=False)
    await server.stop()
    with (server.cluster / "postgresql.conf").open("a") as config:
        config.write("\nno_such_setting = 1\n")
    with pytest.raises(PostgresUnavailable, match="no_such_setting"):
        await start_postgres(server_folder)


async def test_a_lost_port_is_replaced(server_folder: Path) -> None:
    server = await start_postgres(server_folder, fsync=False)
    await server.stop()
    squatter = await asyncio.start_server(lambda reader, writer: writer.close(), "127.0.0.1", server.port)
    try:
        again = await start_postgres(server_folder, fsync=False)
        await again.stop()
        assert again.port != server.port
    finally:
        squatter.close()
        await squatter.wait_closed()


async def test_a_path_too_long_for_a_socket_still_works(server_folder: Path) -> None:
    server = await start_postgres(server_folder / ("long" * 20) / ("longer" * 10), fsync=False)
    try:
        assert await ask(server, "show unix_socket_directories") == ""
    finally:
        await server.stop()


async def test_a_path_with_odd_characters_works(server_folder: Path) -> None:
    server = await start_postgres(server_folder / "a b, 'c' ü", fsync=False)
    try:
        assert await ask(server, "select 1") == 1
    finally:
        await server.stop()


async def test_starting_from_another_thread_is_refused(server_folder: Path) -> None:
    with pytest.raises(RuntimeError, match="main thread"):
        await asyncio.to_thread(asyncio.run, start_postgres(server_folder))


CHECKOUT = Path(__file__).parents[2]
STARTER = """
import asyncio, sys
from pathlib import Path
from rabbitgw.dev.postgres import start_postgres
from rabbitgw.dev.redis import start_redis

async def main():
    folder = Path(sys.argv[1])
    postgres, redis = await start_postgres(folder), await start_redis(folder)
    print(postgres.pid, redis.pid, flush=True)
    await asyncio.sleep(600)

asyncio.run(main())
"""


async def test_both_servers_end_when_their_parent_is_killed(server_folder: Path) -> None:
    parent = await asyncio.create_subprocess_exec(
        sys.executable,
        "-c",
        STARTER,
        str(server_folder),
        stdout=subprocess.PIPE,
        cwd=CHECKOUT,
    )
    assert parent.stdout is not None
    pids = [int(word) for word in (await parent.stdout.readline()).split()]
    assert len(pids) == 2
    assert all(alive(pid) for pid in pids)
    parent.send_signal(signal.SIGKILL)
    await parent.wait()
    again = await start_postgres(server_folder)  # at once: it waits for the old one
    await again.stop()
    async with asyncio.timeout(60):
        while any(alive(pid) for pid in pids):
            await asyncio.sleep(0.02)
