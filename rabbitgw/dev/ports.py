"""Free ports on loopback, remembered in the data directory so that a restart keeps them.

Knows no server. Ports are below 32768: above it Linux takes ports for outgoing connections, and a server that
is to listen on such a port fails now and then for no visible reason.
"""

from __future__ import annotations

import json
import random
import socket
from pathlib import Path

from rabbitgw.dev.files import write_whole
from rabbitgw.errors import SettingInvalid

LOOPBACK = "127.0.0.1"
PORT_FIRST = 20_000  # below lie the ports that people know
PORT_LAST = 32_767
TRIES_MAX = 200
REMEMBERED = "ports.json"


def is_free(port: int, host: str = LOOPBACK) -> bool:
    """Whether a server could listen on this port now."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # a closed connection's port is free
        try:
            probe.bind((host, port))
        except OSError:
            return False
        return True


def free_port(host: str = LOOPBACK) -> int:
    """A port that was free a moment ago; whoever takes it must expect to lose it once in a while."""
    for _ in range(TRIES_MAX):
        port = random.randint(PORT_FIRST, PORT_LAST)  # noqa: S311  any port will do, none is secret
        if is_free(port, host):
            return port
    raise SettingInvalid(f"no free port between {PORT_FIRST} and {PORT_LAST} on {host}")


def remembered_port(data_dir: Path, name: str) -> int:
    """The port that `name` had last time if it is free, else a new one, which is remembered."""
    path = data_dir / REMEMBERED
    try:
        known = json.loads(path.read_text())
    except (FileNotFoundError, ValueError):
        known = {}
    port = known.get(name)
    if not isinstance(port, int) or not is_free(port):
        port = free_port()
        while port in known.values():
            port = free_port()
        write_whole(path, json.dumps({**known, name: port}) + "\n")
    return port
