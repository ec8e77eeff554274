"""rabbitgw/scripts.py: loading, a script that Redis does not know, a Redis that is not ready, foreign words."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Awaitable
from pathlib import Path
from typing import Any

import pytest

from rabbitgw import scripts as scripts_module
from rabbitgw.errors import InvariantBroken, RedisReplyError, RedisUnavailable
from rabbitgw.keynames import KeyNames
from rabbitgw.redis_link import RedisLink
from rabbitgw.replies import LeaseReply, unpack_hold
from rabbitgw.scripts import NAMES, Scripts, load_scripts
from tests.billing.money_world import ACCOUNT, HOLD, KEY, PARTITION, WORKER, World, offer
from tests.scripted import LookingLink

LUA = Path(scripts_module.__file__).parent / "billing" / "lua"
PRELUDES = {"prologue", "amounts", "holds", "rates", "ends"}


class ScriptedLink(LookingLink):
    """Answers what a test wrote down, in order, and keeps what it was asked."""

    def __init__(self, *answers: Any) -> None:
        self.answers = list(answers)
        self.asked: list[tuple[Any, ...]] = []

    async def _answer(self) -> Any:
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, Exception):
            raise answer
        return answer

    def call(self, *args: bytes | str | int) -> Awaitable[Any]:
        self.asked.append(args)
        return self._answer()


def calling(*answers: Any, timeout_s: float = 30.0) -> tuple[Scripts, ScriptedLink]:
    link = ScriptedLink(*answers)
    return Scripts(link, KeyNames(4, 1), timeout_s=timeout_s), link


def lease(scripts: Scripts) -> Awaitable[LeaseReply]:
    return scripts.lease(PARTITION, worker_id=WORKER, ttl_ms=1000)


async def test_the_real_prologue_tells_the_time_of_redis(link: RedisLink) -> None:
    names = KeyNames(4, 1)
    await link.call("SET", names.partition[PARTITION].epoch_key, 1)
    before_s, _ = await link.call("TIME")
    reply = await lease(Scripts(link, names))
    after_s, _ = await link.call("TIME")
    assert int(before_s) * 1000 <= reply.now_ms <= int(after_s) * 1000 + 999


async def test_a_script_that_redis_forgot_is_sent_again_whole(world: World) -> None:
    await world.reserve(offer(300))
    await world.link.call("SCRIPT", "FLUSH")
    assert (await world.settle(120)).word == "OK"
    sha = world.scripts._scripts["settle"].sha
    assert await world.link.call("SCRIPT", "EXISTS", sha) == [1]


async def test_after_noscript_the_source_is_sent_once_with_the_same_arguments() -> None:
    scripts, link = calling(RedisReplyError("NOSCRIPT No matching script."), [b"OK", 5, 0])
    assert await lease(scripts) == LeaseReply("OK", 5, 0)
    first, second = link.asked
    script = load_scripts()["lease"]
    assert first[:2] == (b"EVALSHA", script.sha)
    assert second[:2] == (b"EVAL", script.source)
    assert first[2:] == second[2:]


async def test_a_redis_that_never_knows_the_script_is_not_asked_for_ever() -> None:
    scripts, link = calling(RedisReplyError("NOSCRIPT No matching script."))
    with pytest.raises(RedisReplyError, match="NOSCRIPT"):
        await lease(scripts)
    assert len(link.asked) == 2


@pytest.mark.parametrize("kind", ["LOADING", "BUSY", "TRYAGAIN", "CLUSTERDOWN"])
async def test_a_redis_that_is_not_ready_is_asked_again(kind: str) -> None:
    not_ready = RedisReplyError(f"{kind} not now")
    scripts, link = calling(not_ready, not_ready, not_ready, [b"OK", 5, 0])
    assert (await lease(scripts)).now_ms == 5
    assert len(link.asked) == 4


async def test_not_ready_and_then_empty_is_both_overcome() -> None:
    scripts, link = calling(
        RedisReplyError("LOADING Redis is loading the dataset in memory"),
        RedisReplyError("NOSCRIPT No matching script."),
        RedisReplyError("TRYAGAIN Multiple keys request during rehashing of slot"),
        [b"OK", 5, 0],
    )
    assert (await lease(scripts)).now_ms == 5
    assert [asked[0] for asked in link.asked] == [b"EVALSHA", b"EVALSHA", b"EVAL", b"EVAL"]


async def test_not_ready_ends_at_the_deadline() -> None:
    scripts, link = calling(RedisReplyError("BUSY Redis is busy running a script"), timeout_s=0.05)
    with pytest.raises(RedisUnavailable, match="BUSY"):
        await lease(scripts)
    assert 2 <= len(link.asked) <= 6


@pytest.mark.parametrize(
    "message",
    [
        "OOM command not allowed when used memory > 'maxmemory'.",
        "READONLY You can't write against a read only replica.",
        "MOVED 3999 127.0.0.1:6381",
        "ERR Error running script (call to f_1): @user_script:10: -OOM command not allowed",
        "ERR Error running script (call to f_1): @user_script:10: -READONLY You can't write",
    ],
)
async def test_a_redis_that_refuses_to_write_is_unavailable(message: str) -> None:
    scripts, link = calling(RedisReplyError(message))
    with pytest.raises(RedisReplyError):
        await lease(scripts)
    assert len(link.asked) == 1


@pytest.mark.parametrize(
    "message",
    [
        "ERR user_script:10: BADARG cost_nanos is no amount of nanos: -1",
        "WRONGTYPE Operation against a key holding the wrong kind of value",
        "CROSSSLOT Keys in request don't hash to the same slot",
    ],
)
async def test_a_script_that_fails_is_a_mistake_of_ours(message: str) -> None:
    scripts, _ = calling(RedisReplyError(message))
    with pytest.raises(InvariantBroken, match="lease"):
        await lease(scripts)


async def test_a_connection_that_dies_is_not_hidden_by_a_second_try() -> None:
    scripts, link = calling(RedisUnavailable("Redis: connection lost"))
    with pytest.raises(RedisUnavailable, match="connection lost"):
        await lease(scripts)
    assert len(link.asked) == 1


FOREIGN: list[Any] = [[b"WHAT"], [b"ok", 1, 2], [b""]]


@pytest.mark.parametrize("reply", FOREIGN)
@pytest.mark.parametrize("name", NAMES)
async def test_a_word_that_no_script_has_breaks_the_invariant(name: str, reply: Any) -> None:
    scripts, _ = calling(reply)
    world = World.__new__(World)
    world.scripts = scripts
    calls: dict[str, Awaitable[Any]] = {}
    match name:
        case "reserve":
            calls[name] = world.reserve(offer(1))
        case "extend":
            calls[name] = world.extend(1)
        case "settle":
            calls[name] = world.settle(1)
        case "release":
            calls[name] = world.release()
        case "expire":
            calls[name] = world.expire()
        case "credit":
            calls[name] = world.credit(1, 1)
        case "set_aside":
            calls[name] = world.set_aside(1)
        case "put_back":
            calls[name] = world.put_back()
        case "load":
            calls[name] = scripts.load(PARTITION, ACCOUNT, {"b:USD": 1})
        case "key_put":
            calls[name] = scripts.key_put(PARTITION, ACCOUNT, key_id=KEY, generation=1)
        case "key_record_put":
            calls[name] = scripts.key_record_put("ab", generation=1, record=b"{}")
        case "lease":
            calls[name] = lease(scripts)
        case "snapshot":
            calls[name] = scripts.snapshot(PARTITION, [ACCOUNT])
    with pytest.raises(InvariantBroken, match=name):
        await calls[name]


@pytest.mark.parametrize("packed", [b"", b"1\x1fUSD", b"\x1f" * 8])
def test_a_hold_that_is_none_breaks_the_invariant(packed: bytes) -> None:
    with pytest.raises(InvariantBroken):
        unpack_hold(packed)


async def test_a_ticket_may_hold_any_bytes(world: World) -> None:
    ticket = b'{"m":"\x1f,:\x00\xff"}'
    await world.reserve(offer(300), ticket=ticket)
    hold = await world.hold()
    assert hold is not None
    assert hold.ticket == ticket
    await world.extend(400, delivered=7)
    await world.lease(0)
    assert (await world.expire()).charged_nanos == 7
    [(_, fields)] = await world.link.call("XRANGE", world.keys.events, "-", "+")
    assert fields[fields.index(b"p") + 1] == ticket
    assert await world.mark(HOLD) is not None


def test_a_sha_is_that_of_the_source() -> None:
    for script in load_scripts().values():
        assert script.sha == hashlib.sha1(script.source).hexdigest().encode()


def test_every_file_is_a_script_or_a_prelude() -> None:
    assert {file.stem for file in LUA.glob("*.lua")} == {*NAMES, *PRELUDES}


@pytest.mark.parametrize("name", NAMES)
def test_every_script_says_what_it_takes_and_answers(name: str) -> None:
    text = (LUA / f"{name}.lua").read_text("utf-8")
    assert text.startswith(f"-- {name}: ")
    for part in ("KEYS", "ARGV", "Replies", "Example:"):
        assert f"--   {part}" in text, part
    assert text.index("-- Read") < text.index("-- Write") if name != "snapshot" else "Writes nothing" in text


@pytest.mark.parametrize("file", sorted(LUA.glob("*.lua")), ids=lambda file: file.stem)
def test_money_becomes_text_in_one_place_only(file: Path) -> None:
    code = re.sub(r"--.*", "", file.read_text("utf-8"))
    if file.stem != "amounts":
        assert "string.format" not in code
    assert not re.search(r"'-'\s*\.\.|tostring\(\w*(nanos|amount|cost|charge|granted)|cjson", code)
