"""`make run` in a checkout, as a person would meet it: started, used, stopped, started again, killed.

    python3 tests/smoke.py CHECKOUT

Needs nothing but Python: it is to work before anything is installed.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NoReturn

MODEL = "demo-small"
READY = "rabbitgw ready on http://"
START_TIMEOUT_S = 600.0  # the first start installs
STOP_TIMEOUT_S = 90.0


def main(checkout: Path) -> None:
    data_dir = checkout / ".rabbitgw"
    with running(checkout):
        first = read_env(data_dir)
        names = {model["id"] for model in call(first, "/models")["data"]}
        same(MODEL in names, True, f"{MODEL} among the models")
        stream(first)
        message(first)
        spent = available(first)
    servers_are_gone(data_dir)
    with running(checkout):
        again = read_env(data_dir)
        same(first["OPENAI_API_KEY"], again["OPENAI_API_KEY"], "the key after a restart")
        same(spent, available(again), "the wallet after a restart")
        stream(again)
    with running(checkout, end=signal.SIGKILL):
        stream(read_env(data_dir))
    servers_are_gone(data_dir)
    with running(checkout):
        environment = {**os.environ, **read_env(data_dir)}
        audit = subprocess.run([".venv/bin/rabbitgw", "audit"], cwd=checkout, env=environment, check=False)
        same(audit.returncode, 0, "the exit status of audit after a kill")
    print("smoke: passed")


@contextmanager
def running(checkout: Path, end: signal.Signals = signal.SIGINT) -> Iterator[None]:
    """`make run` until the block ends; then a Ctrl-C, or `end` to every process of the group."""
    environment = {**os.environ, "RABBITGW_PORT": str(free_port()), "PYTHONUNBUFFERED": "1"}
    log = checkout / "smoke.log"
    with log.open("w") as out:
        make = subprocess.Popen(
            ["make", "run"],
            cwd=checkout,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        wait_for(lambda: READY in log.read_text() or make.poll() is not None, START_TIMEOUT_S, log)
        if make.poll() is not None:
            fail(f"make run ended with status {make.returncode}", log)
        yield
    finally:
        os.killpg(make.pid, end)
        try:
            make.wait(STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            os.killpg(make.pid, signal.SIGKILL)
            make.wait()
            fail("make run did not end after Ctrl-C", log)
        wait_for(lambda: not group_alive(make.pid), STOP_TIMEOUT_S, log)


def stream(env: dict[str, str]) -> None:
    body = {"model": MODEL, "messages": [{"role": "user", "content": "hi"}], "stream": True, "max_tokens": 20}
    answer = request(env, "/chat/completions", body).decode()
    if not answer.endswith("data: [DONE]\n\n"):
        fail(f"the stream ended with {answer[-200:]!r}")


def message(env: dict[str, str]) -> None:
    """By Anthropic's API, as its own two variables say; 8 tokens at 150 nanos and 20 at 600 are paid."""
    before = available(env)
    body = {"model": MODEL, "messages": [{"role": "user", "content": "hi"}], "max_tokens": 20}
    same(env["ANTHROPIC_API_KEY"], env["OPENAI_API_KEY"], "the key for the Anthropic SDK")
    same(f"{env['ANTHROPIC_BASE_URL']}/v1", env["OPENAI_BASE_URL"], "the address for the Anthropic SDK")
    answer = json.loads(request(env, "/messages", body))
    same(answer["usage"]["output_tokens"], 20, "the output of a message")
    same(before - available(env), 13_200, "the cost of a message")


def available(env: dict[str, str]) -> int:
    return int(call(env, "/wallets")["wallets"][0]["available_nanos"])


def call(env: dict[str, str], path: str) -> Any:
    return json.loads(request(env, path))


def request(env: dict[str, str], path: str, body: Any = None) -> bytes:
    data = None if body is None else json.dumps(body).encode()
    headers = {"authorization": f"Bearer {env['OPENAI_API_KEY']}", "content-type": "application/json"}
    asked = urllib.request.Request(env["OPENAI_BASE_URL"] + path, data, headers)
    try:
        with urllib.request.urlopen(asked, timeout=60) as response:
            return bytes(response.read())
    except urllib.error.HTTPError as refusal:
        fail(f"{path} answered {refusal.code}: {refusal.read().decode(errors='replace')}")


def read_env(data_dir: Path) -> dict[str, str]:
    path = data_dir / "dev.env"
    same(oct(path.stat().st_mode & 0o777), "0o600", "the mode of dev.env")
    pairs = (line.partition("=") for line in path.read_text().splitlines() if line and line[0] != "#")
    return {name: value.strip("'") for name, _, value in pairs}


def servers_are_gone(data_dir: Path) -> None:
    ports = json.loads((data_dir / "ports.json").read_text())
    for name, port in ports.items():
        wait_for(lambda port=port: not listening(port), STOP_TIMEOUT_S, what=f"{name} to stop listening")


def listening(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def free_port() -> int:
    for port in range(18_080, 18_480):
        if not listening(port):
            return port
    raise SystemExit("smoke: no free port")


def group_alive(group: int) -> bool:
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    return True


def wait_for(condition: Any, timeout_s: float, log: Path | None = None, what: str = "make run") -> None:
    deadline_s = time.monotonic() + timeout_s
    while not condition():
        if time.monotonic() > deadline_s:
            fail(f"waited {timeout_s:.0f} s for {what}", log)
        time.sleep(0.1)


def same(seen: object, expected: object, what: str) -> None:
    if seen != expected:
        fail(f"{what} is {seen!r}, not {expected!r}")


def fail(message: str, log: Path | None = None) -> NoReturn:
    if log is not None:
        print(log.read_text(), file=sys.stderr)
    raise SystemExit(f"smoke: {message}")


if __name__ == "__main__":
    main(Path(sys.argv[1]).resolve())
