from __future__ import annotations

import socket
from pathlib import Path

from rabbitgw.dev import ports


def test_a_port_is_remembered_per_name(tmp_path: Path) -> None:
    postgres = ports.remembered_port(tmp_path, "postgres")
    redis = ports.remembered_port(tmp_path, "redis")
    assert postgres != redis
    assert ports.remembered_port(tmp_path, "postgres") == postgres
    assert ports.remembered_port(tmp_path, "redis") == redis
    assert ports.PORT_FIRST <= postgres <= ports.PORT_LAST < 32_768


def test_a_remembered_port_that_another_took_is_replaced_for_good(tmp_path: Path) -> None:
    first = ports.remembered_port(tmp_path, "redis")
    with socket.create_server((ports.LOOPBACK, first)):
        second = ports.remembered_port(tmp_path, "redis")
        assert second != first
    assert ports.remembered_port(tmp_path, "redis") == second


def test_a_spoilt_memory_is_made_anew(tmp_path: Path) -> None:
    (tmp_path / ports.REMEMBERED).write_text('{"redis": ')
    port = ports.remembered_port(tmp_path, "redis")
    assert ports.remembered_port(tmp_path, "redis") == port
