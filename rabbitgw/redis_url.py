"""What REDIS_URL means: where the server is, who we are there, which database.

Owns the accepted forms only; opens nothing. No message made here repeats the URL: it may hold a password.
An option that we would not honour is refused rather than ignored.
"""

from __future__ import annotations

import ssl
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from rabbitgw.errors import SettingInvalid

PORT = 6379
_OPTIONS = frozenset({"db", "ssl_ca_certs", "ssl_cert_reqs", "ssl_check_hostname"})
_FORMS = "redis://, rediss:// or unix://"


@dataclass(frozen=True, slots=True)
class RedisTarget:
    """`path` is a unix socket, else `host` and `port`. `greeting` is sent first on every new connection."""

    host: str
    port: int
    path: str | None
    tls: ssl.SSLContext | None
    greeting: tuple[tuple[str, ...], ...]

    @property
    def name(self) -> str:
        """The address, without any credential; for logs."""
        return self.path or f"{self.host}:{self.port}"


def parse_redis_url(url: str) -> RedisTarget:
    """redis://[[user]:password@]host[:port][/db], rediss:// likewise, unix://[user:password@]/path[?db=n].

    Raises: SettingInvalid, naming REDIS_URL.
    """
    # redis-py knows how such URLs are escaped; importing it costs 0.1 s, so only where one is read.
    from redis.asyncio.connection import parse_url

    try:
        scheme = urlsplit(url).scheme
        if scheme.partition("+")[2] in ("sentinel", "cluster"):
            raise SettingInvalid(f"REDIS_URL: {scheme}:// is not supported; give one server as {_FORMS}")
        if scheme not in ("redis", "rediss", "unix"):
            raise SettingInvalid(f"REDIS_URL: the scheme must be {_FORMS}")
        parts: dict[str, Any] = dict(parse_url(url))
    except ValueError as error:
        raise SettingInvalid(f"REDIS_URL: not a usable URL ({type(error).__name__})") from None
    parts.pop("connection_class", None)
    username, password = str(parts.pop("username", "")), str(parts.pop("password", ""))
    path = parts.pop("path", None)
    if scheme == "unix" and path is None:
        raise SettingInvalid("REDIS_URL: unix:// needs the path of a socket")
    host, port = str(parts.pop("host", "localhost")), int(parts.pop("port", PORT))
    unknown = sorted(set(parts) - _OPTIONS)
    if unknown:
        raise SettingInvalid(
            f"REDIS_URL: unknown option {unknown[0]}; known are {', '.join(sorted(_OPTIONS))}"
        )
    greeting: list[tuple[str, ...]] = []
    if password:
        greeting.append(("AUTH", username, password) if username else ("AUTH", password))
    database = _database(url, scheme, parts)
    if database:
        greeting.append(("SELECT", str(database)))
    return RedisTarget(host, port, path, _tls(parts) if scheme == "rediss" else None, tuple(greeting))


def _database(url: str, scheme: str, parts: dict[str, Any]) -> int:
    """The number; redis-py would silently take 0 where the path is no number."""
    in_path = urlsplit(url).path.strip("/") if scheme != "unix" else ""
    if in_path and not in_path.isdecimal():
        raise SettingInvalid("REDIS_URL: the database after the last / must be a number")
    database = int(parts.get("db", 0))
    if database < 0:
        raise SettingInvalid("REDIS_URL: the database must be 0 or more")
    return database


def _tls(parts: dict[str, Any]) -> ssl.SSLContext:
    try:
        context = ssl.create_default_context(cafile=parts.get("ssl_ca_certs"))
    except (OSError, ssl.SSLError) as error:
        raise SettingInvalid(f"REDIS_URL: ssl_ca_certs cannot be read ({type(error).__name__})") from None
    requirement = parts.get("ssl_cert_reqs", "required")
    if requirement not in ("required", "none"):
        raise SettingInvalid("REDIS_URL: ssl_cert_reqs must be required or none")
    if requirement == "none" or not parts.get("ssl_check_hostname", True):
        context.check_hostname = False
    if requirement == "none":
        context.verify_mode = ssl.CERT_NONE
    return context
