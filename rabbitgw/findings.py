"""What a look at a deployment finds: one line per check, bounded in time, without secrets.

Owns the making of a check: it ends within its limit, whatever is wrong with it becomes a finding, and no foreign text
(an error of a library, a name that a server told) gets out with a secret in it. Knows no store.
"""

from __future__ import annotations

import asyncio
import re
import threading
from collections.abc import Awaitable, Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass
from enum import StrEnum
from typing import Final, TypeVar
from urllib.parse import unquote

from rabbitgw.errors import RabbitError

LIMIT_S: Final = 5.0  # of one check
FOREIGN_CHARS_MAX: Final = 300
HIDDEN: Final = "***"
SECRET_CHARS_MIN: Final = 4  # shorter ones would hide every other word

T = TypeVar("T")


class State(StrEnum):
    OK = "ok"
    WARNING = "warning"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Verdict:
    """`mend`: what to do about it; empty where nothing is to be done."""

    state: State
    found: str
    mend: str = ""


@dataclass(frozen=True, slots=True)
class Finding:
    """A verdict and the name of its check, like `redis.eviction`."""

    check: str
    state: State
    found: str
    mend: str = ""


def ok(found: str) -> Verdict:
    return Verdict(State.OK, found)


def warning(found: str, mend: str) -> Verdict:
    return Verdict(State.WARNING, found, mend)


def failed(found: str, mend: str) -> Verdict:
    return Verdict(State.FAILED, found, mend)


@dataclass(frozen=True, slots=True)
class Checkup:
    """Makes checks. `secrets` are texts that must not be shown, parts of URLs included."""

    secrets: tuple[str, ...] = ()
    limit_s: float = LIMIT_S

    async def make(self, check: str, work: Awaitable[Verdict], *, mend: str) -> Finding:
        """Make one check. What goes wrong in it is its finding; `mend` is what to do then."""
        try:
            async with asyncio.timeout(self.limit_s):
                verdict = await work
        except TimeoutError:
            verdict = failed(f"no answer within {self.limit_s:g} s", mend)
        except RabbitError as error:
            verdict = failed(self.foreign(error.message), mend)
        except Exception as error:  # a broken check must not hide what the others find
            verdict = failed(f"not checked: {self.foreign(f'{type(error).__name__}: {error}')}", mend)
        return Finding(check, verdict.state, self.hidden(verdict.found), verdict.mend)

    async def make_all(self, checks: Iterable[tuple[str, Awaitable[Verdict]]], *, mend: str) -> list[Finding]:
        """Checks that do not need each other, at the same time, in their order."""
        return list(await asyncio.gather(*(self.make(check, work, mend=mend) for check, work in checks)))

    def foreign(self, text: str) -> str:
        """A text that others wrote: bounded, and as `hidden` has it."""
        line = self.hidden(text)
        return line if len(line) <= FOREIGN_CHARS_MAX else f"{line[:FOREIGN_CHARS_MAX]} …"

    def hidden(self, text: str) -> str:
        """In one line, without a secret of ours, without what a terminal would obey."""
        line = " ".join(text.split())
        for secret in sorted(self.secrets, key=len, reverse=True):
            if len(secret) >= SECRET_CHARS_MIN:
                line = line.replace(secret, HIDDEN)
        return "".join(char if char.isprintable() else "?" for char in line)


def secrets_of(texts: Iterable[str]) -> tuple[str, ...]:
    """What must not be shown of some settings: of a URL its password, whole and in the pieces that a parser which
    trips over it may quote; any other text itself."""
    found: set[str] = set()
    for text in texts:
        if "://" not in text:
            found.add(text)
            continue
        passwords = re.findall(r"[?&]password=([^&]+)", text)
        in_front = re.search(r"://[^:@/]*:(.+)@", text)
        if in_front is not None:
            passwords.append(in_front[1])
        for password in passwords:
            found |= {password, unquote(password), *re.split(r"[/?#@:\[\]]", password)}
    return tuple(sorted(found - {""}))


async def apart(work: Callable[[], T]) -> T:
    """Run what may block for good (a disk that does not answer) in a thread that nobody waits for at the end."""
    loop = asyncio.get_running_loop()
    result: asyncio.Future[T] = loop.create_future()

    def tell(settle: Callable[[], None]) -> None:
        with suppress(RuntimeError):  # the loop has ended: nobody waits any more
            loop.call_soon_threadsafe(lambda: None if result.done() else settle())

    def run() -> None:
        try:
            outcome = work()
        except Exception as error:
            caught = error
            tell(lambda: result.set_exception(caught))
        else:
            tell(lambda: result.set_result(outcome))

    threading.Thread(target=run, name="check", daemon=True).start()
    return await result
