"""A check ends in time, whatever it does, and no secret gets out with what it says."""

from __future__ import annotations

import asyncio
import threading

import pytest

from rabbitgw.errors import RedisUnavailable
from rabbitgw.findings import Checkup, Finding, State, Verdict, apart, ok, secrets_of


async def test_what_a_check_raises_is_its_finding() -> None:
    async def unavailable() -> Verdict:
        raise RedisUnavailable("Redis: gone")

    async def broken() -> Verdict:
        raise ValueError("a\nb")

    async def fine() -> Verdict:
        return ok("well")

    found = await Checkup().make_all([("a", unavailable()), ("b", broken()), ("c", fine())], mend="look")
    assert found == [
        Finding("a", State.FAILED, "Redis: gone", "look"),
        Finding("b", State.FAILED, "not checked: ValueError: a b", "look"),
        Finding("c", State.OK, "well"),
    ]


async def test_a_check_that_hangs_is_ended() -> None:
    ended = asyncio.Event()

    async def hangs() -> Verdict:
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()
        return ok("never")

    found = await Checkup(limit_s=0.05).make("a", hangs(), mend="look")
    assert found == Finding("a", State.FAILED, "no answer within 0.05 s", "look")
    assert ended.is_set()


async def test_a_thread_that_hangs_is_not_waited_for() -> None:
    go_on = threading.Event()

    def blocks() -> Verdict:
        go_on.wait()
        return ok("late")

    found = await Checkup(limit_s=0.05).make("a", apart(blocks), mend="look")
    go_on.set()
    assert found.state is State.FAILED
    assert (await Checkup().make("b", apart(lambda: ok("well")), mend="look")).found == "well"


@pytest.mark.parametrize(
    ("setting", "shown", "hidden"),
    [
        ("sk-plain-secret", "key sk-plain-secret refused", "key *** refused"),
        ("postgresql://u:pass/word#1@h/db", "cannot cast 'pass' to a port", "cannot cast '***' to a port"),
        ("redis://:p%40ss-word@h:1", "AUTH p@ss-word", "AUTH ***"),
        ("postgresql://h/db?password=in-query&x=1", "in-query", "***"),
        ("postgresql://user@host/db", "user at host", "user at host"),
        ("abc", "abcdef", "abcdef"),
    ],
)
def test_secrets_are_hidden(setting: str, shown: str, hidden: str) -> None:
    assert Checkup(secrets_of([setting])).foreign(shown) == hidden


def test_a_longer_secret_is_hidden_whole() -> None:
    assert Checkup(secrets_of(["secret", "secret-and-more"])).hidden("secret-and-more") == "***"


def test_foreign_text_is_one_bounded_line_that_no_terminal_obeys() -> None:
    shown = Checkup().foreign("a\n\x1b[31mb\t" + "x" * 1000)
    assert shown.startswith("a ?[31mb xxx")
    assert len(shown) < 320
