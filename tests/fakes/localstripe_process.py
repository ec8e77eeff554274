"""localstripe, a Stripe that somebody else wrote, from a virtual environment of its own: an independent witness.

It is under the GPL, so it is a process beside the tests and nothing of it is imported; `make localstripe-venv` installs
it beside the checkout. Its own command would listen everywhere and keep its objects as a pickle in the temporary
folder; the launcher here listens on loopback, on a port that the kernel chooses, and keeps them in memory.
What it knows and what it refuses stands in test_localstripe.py.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import subprocess
import sys
import time
import urllib.parse
import urllib.request
from collections.abc import Iterator
from pathlib import Path

from rabbitgw.dev.child import LEASH

CHECKOUT = Path(__file__).resolve().parents[2]
VENV_VARIABLE = "RABBITGW_LOCALSTRIPE_VENV"
VENV_DEFAULT = CHECKOUT / ".cache" / "localstripe-venv"
API_KEY = "sk_test_localstripe"
READY_TIMEOUT_S = 60.0  # 0.4 s on an idle machine
STOP_TIMEOUT_S = 20.0
# It says its port once it listens.
LAUNCHER = """
import socket
from aiohttp import web
from localstripe import resources, server
resources.Store.dump_to_disk = lambda store: None
resources.open = None  # nothing else may be written either
listening = socket.create_server(("127.0.0.1", 0))
print(listening.getsockname()[1], flush=True)
web.run_app(server.app, sock=listening, access_log=None, print=None)
"""


class LocalStripe:
    """`base_url` is what Stripe's clients take as the address of the API."""

    def __init__(self, base_url: str) -> None:
        self.base_url = base_url
        self.api_key = API_KEY

    def deliver_to(self, url: str, secret: str) -> None:
        """Send every event there from now on, signed, about a second after it happened; once, without a retry."""
        self._ask(
            "POST", "/_config/webhooks/tests", urllib.parse.urlencode({"url": url, "secret": secret}).encode()
        )

    def forget(self) -> None:
        """Every object. Where events are sent is not forgotten."""
        self._ask("DELETE", "/_config/data")

    def _ask(self, method: str, path: str, body: bytes | None = None) -> None:
        asked = urllib.request.Request(self.base_url + path, data=body, method=method)
        with urllib.request.urlopen(asked, timeout=READY_TIMEOUT_S):
            pass


@contextlib.contextmanager
def open_localstripe(folder: Path) -> Iterator[LocalStripe]:
    """A running one, whose log is in `folder`. It ends with this, or with the process that started it."""
    python = Path(os.environ.get(VENV_VARIABLE) or VENV_DEFAULT) / "bin" / "python"
    if not python.is_file():
        raise RuntimeError(f"{python} is missing: run `make localstripe-venv`, or set {VENV_VARIABLE}")
    log = folder / "localstripe.log"
    leash = (sys.executable, "-I", "-S", LEASH, str(os.getpid()), str(int(signal.SIGTERM)), "-")
    with log.open("ab") as out:
        process = subprocess.Popen(
            [*leash, python, "-I", "-c", LAUNCHER],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=out,
            cwd=folder,
            env={"PATH": os.environ.get("PATH", os.defpath), "HOME": str(folder), "NO_PROXY": "*"},
            start_new_session=True,
        )
    try:
        yield LocalStripe(f"http://127.0.0.1:{_port_said(process, log)}")
    finally:
        process.terminate()
        try:
            process.wait(STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        if process.stdout is not None:
            process.stdout.close()


def _port_said(process: subprocess.Popen[bytes], log: Path) -> int:
    """Raises: RuntimeError with the end of its log."""
    assert process.stdout is not None
    said = b""
    deadline_s = time.monotonic() + READY_TIMEOUT_S
    while not said.endswith(b"\n"):
        readable, _, _ = select.select([process.stdout], [], [], max(0.0, deadline_s - time.monotonic()))
        piece = os.read(process.stdout.fileno(), 100) if readable else b""
        if not piece:
            tail = "\n".join(log.read_text(errors="replace").splitlines()[-30:])
            raise RuntimeError(f"localstripe did not start in {READY_TIMEOUT_S:.0f} s:\n{tail}")
        said += piece
    return int(said)
