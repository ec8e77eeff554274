"""What is measured, side by side: three peers and the gateway, each as processes of its own behind one stub.

Owns how they are started and which of their processes count. Each that does billing has a Redis to itself, so that its
Redis' time can be told. The gateway's bookkeeper (`rabbitgw work`) and PostgreSQL run beside it and are not counted.
A peer whose programs are not on this machine is left out, with a line that says what to install.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import aiohttp
import redis.asyncio

import rabbitgw
from bench.processes import family
from rabbitgw.billing import keys
from rabbitgw.billing.migrations import migrate
from rabbitgw.billing.price_book import append_prices
from rabbitgw.billing.price_text import price_from_text
from rabbitgw.dev import child
from rabbitgw.dev.child import Child
from rabbitgw.dev.ports import free_port
from rabbitgw.dev.postgres import start_postgres
from rabbitgw.dev.redis import RedisServer, start_redis
from tests.flows.house import until
from tests.flows.processes import deployment

ROOT = Path(__file__).parent.parent
PEERS = Path(__file__).parent / "peers"
NGINX_MODULES = Path("/usr/lib/nginx/modules")
LUA_NEEDS = (
    NGINX_MODULES / "ndk_http_module.so",
    NGINX_MODULES / "ngx_http_lua_module.so",
    Path("/usr/share/lua/5.1/nginx/redis.lua"),
)
INSTALL = "apt-get install nginx-light libnginx-mod-http-lua lua-cjson lua-nginx-redis"
FILES = 20_000  # descriptors: a thousand open streams are two thousand sockets
CREDIT_NANOS = 10**15
STARTS_WITHIN_S = 60.0
NAMES = ("nginx", "nginx-lua", "aiohttp", "rabbitgw")


@dataclass
class Candidate:
    """One that is measured. `watch` are the processes whose CPU counts, by part."""

    name: str
    title: str
    version: str
    port: int
    key: str = "sk-bench"
    watch: dict[str, list[int]] = field(default_factory=dict)

    @property
    def pids(self) -> list[int]:
        return self.watch["gateway"]


@dataclass
class Field:
    """All candidates of a run, and the stub behind them."""

    stub: Candidate
    candidates: list[Candidate] = field(default_factory=list)
    not_run: dict[str, str] = field(default_factory=dict)


@asynccontextmanager
async def running(
    folder: Path,
    names: Sequence[str] = NAMES,
    gateway_env: Mapping[str, str] | None = None,
    *,
    gateway_command: Sequence[str] = ("-m", "rabbitgw"),
) -> AsyncIterator[Field]:
    """Start the stub and these candidates; end them all after the block."""
    async with AsyncExitStack() as started:
        port = free_port()
        stub = await _python(started, folder, port, "bench.stub", str(port))
        found = Field(Candidate("stub", "straight to the stub", "", port, watch={"gateway": [stub.pid]}))
        for name in names:
            missing = _missing(name)
            if missing:
                found.not_run[name] = missing
            elif name == "nginx":
                found.candidates.append(await _nginx(started, folder, port))
            elif name == "nginx-lua":
                found.candidates.append(await _nginx_lua(started, folder, port))
            elif name == "aiohttp":
                found.candidates.append(await _aiohttp(started, folder, port))
            else:
                env = gateway_env or {}
                found.candidates.append(await _rabbitgw(started, folder, port, env, gateway_command))
        yield found


def _missing(name: str) -> str:
    """What to install for this peer; empty when it can run."""
    if name not in ("nginx", "nginx-lua"):
        return ""
    if _nginx_binary() is None or (name == "nginx-lua" and not all(path.exists() for path in LUA_NEEDS)):
        return f"not run here: {INSTALL}"
    return ""


def _nginx_binary() -> str | None:
    return shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin:/usr/local/sbin")


def _nginx_version() -> str:
    done = subprocess.run([str(_nginx_binary()), "-v"], capture_output=True, text=True, check=True)
    return done.stderr.strip().rpartition("/")[2]


async def _nginx(started: AsyncExitStack, folder: Path, stub: int) -> Candidate:
    port = free_port()
    process = await _start_nginx(started, folder / "nginx", "nginx.conf", port, {"STUB": stub})
    title = "nginx, plain proxy, no billing"
    return Candidate("nginx", title, _nginx_version(), port, watch={"gateway": family(process.pid)})


async def _nginx_lua(started: AsyncExitStack, folder: Path, stub: int) -> Candidate:
    server = await _redis(started, folder / "nginx-lua-redis")
    async with redis.asyncio.Redis.from_url(server.url) as client:
        await client.hset("{b}:account", mapping={"balance": CREDIT_NANOS, "held": 0})
        await client.config_set("requirepass", "")  # one command a connection less than with it
    port = free_port()
    filled = {"STUB": stub, "REDIS": server.port, "MODULES": NGINX_MODULES, "PEERS": PEERS}
    process = await _start_nginx(started, folder / "nginx-lua", "nginx_lua.conf", port, filled)
    return Candidate(
        "nginx-lua",
        "nginx + Lua + Redis, reserve and settle by hand",
        _nginx_version(),
        port,
        watch={"gateway": family(process.pid), "redis": [server.pid]},
    )


async def _start_nginx(
    started: AsyncExitStack, folder: Path, template: str, port: int, filled: Mapping[str, object]
) -> Child:
    folder.mkdir()
    user = "user root;" if os.geteuid() == 0 else ""  # else its worker could not enter our folder
    text = (PEERS / template).read_text("utf-8")
    for name, value in {**filled, "PORT": port, "FILES": FILES, "USER": user}.items():
        text = text.replace(f"@{name}@", str(value))
    (folder / "nginx.conf").write_text(text, "utf-8")
    command = [str(_nginx_binary()), "-p", folder, "-c", folder / "nginx.conf", "-e", "stderr"]
    process = child.start("nginx", command, log=folder / "nginx.log", death_signal=signal.SIGTERM)
    started.push_async_callback(process.stop, signal.SIGTERM)
    await _listens(process, port)
    await until(lambda: len(family(process.pid)) > 1)  # the master listens before its worker is there
    return process


async def _aiohttp(started: AsyncExitStack, folder: Path, stub: int) -> Candidate:
    port = free_port()
    process = await _python(started, folder, port, "bench.naive_proxy", str(port), f"http://127.0.0.1:{stub}")
    title = "aiohttp on both sides, no billing"
    return Candidate("aiohttp", title, aiohttp.__version__, port, watch={"gateway": [process.pid]})


async def _rabbitgw(
    started: AsyncExitStack, folder: Path, stub: int, env: Mapping[str, str], command: Sequence[str]
) -> Candidate:
    home = folder / "rabbitgw"
    home.mkdir()
    home.chmod(0o711)  # root's PostgreSQL is another user's
    postgres = await start_postgres(home / "stores")
    started.push_async_callback(postgres.stop)
    server = await _redis(started, home / "stores")
    await migrate(postgres.dsn())
    house = await started.enter_async_context(
        deployment(
            postgres.dsn(), server.url, f"http://127.0.0.1:{stub}", home, credit_nanos=CREDIT_NANOS, **env
        )
    )
    await append_prices(house.stores.pg, [price_from_text("stub-*", {"input": "0.15", "output": "0.60"})])
    # one window, as the peer has
    key = await keys.create_key(
        house.stores.pg,
        keys.NewKey(account_id=house.account.id, name="bench", daily_limit_nanos=CREDIT_NANOS),
    )
    gateway = child.start(
        "gateway",
        [sys.executable, *command, "serve"],
        log=home / "gateway.log",
        death_signal=signal.SIGKILL,
        env={**house.env, "PYTHONPATH": str(ROOT)},
    )
    started.push_async_callback(gateway.stop, signal.SIGTERM)
    await house.serves(gateway)
    await house.worker()
    return Candidate(
        "rabbitgw",
        "rabbitgw serve, one worker",
        rabbitgw.__version__,
        house.port,
        key.secret,
        {"gateway": family(gateway.pid), "redis": [server.pid]},
    )


async def _redis(started: AsyncExitStack, folder: Path) -> RedisServer:
    server = await start_redis(folder)
    started.push_async_callback(server.stop)
    return server


async def _python(started: AsyncExitStack, folder: Path, port: int, module: str, *arguments: str) -> Child:
    log = folder / f"{module}.log"
    command = [sys.executable, "-m", module, *arguments]
    process = child.start(
        module, command, log=log, death_signal=signal.SIGKILL, env={"PYTHONPATH": str(ROOT)}
    )
    started.push_async_callback(process.stop, signal.SIGTERM)
    await _listens(process, port)
    return process


async def _listens(process: Child, port: int) -> None:
    async def accepts() -> bool:
        assert process.running, f"{process.name} ended:{process.tail()}"
        try:
            _, writer = await asyncio.open_connection("127.0.0.1", port)
        except OSError:
            return False
        writer.close()
        return True

    await until(accepts, timeout_s=STARTS_WITHIN_S)
