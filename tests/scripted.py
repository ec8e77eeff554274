"""The money scripts called with everything named, whether it fits or not; and links that look at what is sent."""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import hiredis

from rabbitgw.prepared import RateCheck, WindowCheck
from rabbitgw.replies import ReserveReply
from rabbitgw.scripts import Scripts, load_scripts

if TYPE_CHECKING:
    import pytest

    from rabbitgw.redis_link import RedisLink


class Offer(NamedTuple):
    """One way to take a call, with all that reserve can be told of it."""

    amount_nanos: int
    least_nanos: int
    last: int
    enforce: str  # one '1' (counts, binds), '0' (counts) or '-' (neither) per window
    how: str = ""  # '~', '^<ms>', '/<place of its ticket>', in this order


def offers_text(offers: Iterable[Sequence[object]]) -> bytes:
    def text(offer: Sequence[object]) -> str:
        """What an offer says of its manner stands behind the windows, without a space."""
        head, how = (offer[:4], offer[4]) if isinstance(offer, Offer) else (offer, "")
        return f"{' '.join(map(str, head))}{how};"

    return "".join(map(text, offers)).encode()


async def reserve(
    scripts: Scripts,
    partition: int,
    account_id: int,
    *,
    hold_id: str,
    worker_id: str,
    currency: str,
    key_id: int,
    generation: int,
    max_age_ms: int,
    backlog_max: int,
    windows: Sequence[WindowCheck],
    offers: Iterable[Sequence[object]],
    ticket: bytes,
    rates: Sequence[RateCheck] = (),
    tokens: int = 0,
) -> ReserveReply:
    command = scripts.reserve_command(
        partition,
        account_id,
        worker_id=worker_id,
        currency=currency,
        key_id=key_id,
        generation=generation,
        max_age_ms=max_age_ms,
        backlog_max=backlog_max,
        windows=windows,
        rates=rates,
    )
    return await scripts.reserve(command, hold_id, offers_text(offers), ticket, tokens)


def arguments(command: bytes) -> list[bytes]:
    """What a command says: it is an array of texts, as a reply may be."""
    reader = hiredis.Reader()
    reader.feed(command)
    read: list[bytes] = reader.gets()
    assert reader.gets() is False
    return read


class LookingLink(ABC):
    """A link for scripts that a test puts between: its `call` is given the arguments of what is sent."""

    @abstractmethod
    def call(self, *args: Any) -> Awaitable[Any]: ...

    def send(self, command: bytes) -> Awaitable[Any]:
        return self.call(*arguments(command))


def fail_scripts(
    patch: pytest.MonkeyPatch, link: RedisLink, names: Sequence[str], error: Callable[[], Exception]
) -> None:
    """Until `patch` is undone calls of these scripts do not leave, and this is what comes of each."""
    shas, send = [load_scripts()[name].sha for name in names], link.send

    def fail(command: bytes) -> asyncio.Future[Any]:
        if not any(sha in command for sha in shas):
            return send(command)
        future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        future.set_exception(error())
        return future

    patch.setattr(link, "send", fail)
