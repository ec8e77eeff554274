"""Looks at Redis: can it run the scripts, does it keep what it is told, and does it answer in time?

Nothing is written but the script cache, which every gateway fills with the same scripts.
"""

from __future__ import annotations

import asyncio
import re
from statistics import median
from typing import Final

from rabbitgw.billing.doctor.clocks import compared
from rabbitgw.clock import monotonic_s
from rabbitgw.errors import RedisReplyError
from rabbitgw.findings import Checkup, Finding, State, Verdict, failed, ok, warning
from rabbitgw.redis_link import RedisLink
from rabbitgw.scripts import load_scripts
from rabbitgw.stores import eviction, persistence, redis_facts

VERSION_MIN: Final = (6, 2)
MIB: Final = 1024 * 1024
MEMORY_WARNING: Final = 0.75
MEMORY_FAILED: Final = 0.95
PINGS: Final = 21
ROUND_TRIP_WARNING_MS: Final = 5.0  # a call waits for two before its first byte leaves


async def look_at_redis(checkup: Checkup, link: RedisLink) -> list[Finding]:
    return await checkup.make_all(
        [
            ("redis.version", _version(link)),
            ("redis.topology", _topology(link)),
            ("redis.persistence", _persistence(link)),
            ("redis.eviction", _eviction(link)),
            ("redis.memory", _memory(link)),
            ("redis.clock", _clock(link)),
            ("redis.latency", _latency(link)),
            ("redis.scripts", _scripts(link)),
        ],
        mend="look at Redis' log, and at what its user may do",
    )


async def _version(link: RedisLink) -> Verdict:
    facts = await redis_facts(link, "server")
    version = facts.get("redis_version", "")
    valkey = facts.get("valkey_version")
    text = (
        f"Valkey {valkey} (as Redis {version})" if valkey else f"Redis {version or 'of an unknown version'}"
    )
    numbers = tuple(int(number) for number in re.findall(r"\d+", version)[:2])
    if numbers < VERSION_MIN:
        return failed(text, f"upgrade it to {VERSION_MIN[0]}.{VERSION_MIN[1]} or newer, or to Valkey")
    return ok(f"{text}, run id {link.server_run_id}")


async def _topology(link: RedisLink) -> Verdict:
    facts = await redis_facts(link, "server", "replication")
    mode = facts.get("redis_mode", "standalone")
    if mode != "standalone":
        return failed(
            f"Redis runs in {mode} mode", "let REDIS_URL name a single server: no cluster, no Sentinel"
        )
    if facts.get("role") != "master":
        return failed("Redis is a replica: it takes no writes", "let REDIS_URL name the primary")
    return ok(f"a single server, {facts.get('connected_slaves', '0')} replicas")


async def _persistence(link: RedisLink) -> Verdict:
    verdict = persistence(await redis_facts(link, "persistence"))
    if verdict.state is not State.OK:
        return verdict
    try:
        reply = await link.call("CONFIG", "GET", "appendfsync")
    except RedisReplyError:
        return ok(f"{verdict.found}; how often it is synced to disk is not told here")
    policy = reply[1].decode() if len(reply) > 1 else "unknown"
    if policy == "no":
        return warning(
            f"{verdict.found}, but appendfsync no: a crash of its machine loses what the system had not written",
            "set appendfsync everysec or always",
        )
    lost = {"everysec": ": a crash of its machine can lose two seconds", "always": ": nothing can be lost"}
    return ok(f"{verdict.found}, appendfsync {policy}{lost.get(policy, '')}")


async def _eviction(link: RedisLink) -> Verdict:
    return eviction(await redis_facts(link, "memory"))


async def _memory(link: RedisLink) -> Verdict:
    facts = await redis_facts(link, "memory")
    used, limit = int(facts.get("used_memory", 0)), int(facts.get("maxmemory", 0))
    if limit == 0:
        return warning(
            f"{used // MIB} MiB used, no maxmemory: the system may end a Redis that grows",
            "set maxmemory below what its machine has",
        )
    found = f"{used // MIB} of {limit // MIB} MiB used ({used / limit:.0%})"
    mend = "raise maxmemory; when it is full new calls are refused. Does `rabbitgw work` run?"
    if used >= MEMORY_FAILED * limit:
        return failed(found, mend)
    return warning(found, mend) if used >= MEMORY_WARNING * limit else ok(found)


async def _clock(link: RedisLink) -> Verdict:
    async def read_ms() -> int:
        seconds, micros = await link.call("TIME")
        return int(seconds) * 1000 + int(micros) // 1000

    return await compared("Redis'", read_ms)


async def _latency(link: RedisLink) -> Verdict:
    spans_ms = []
    for _ in range(PINGS):
        begun_s = monotonic_s()
        await link.call("PING")
        spans_ms.append((monotonic_s() - begun_s) * 1000)
    found = f"a round trip takes {median(spans_ms):.2f} ms (worst of {PINGS}: {max(spans_ms):.2f} ms)"
    if median(spans_ms) >= ROUND_TRIP_WARNING_MS:
        return warning(found, "move Redis nearer to the gateways: every call waits for it twice")
    return ok(found)


async def _scripts(link: RedisLink) -> Verdict:
    scripts = load_scripts().values()
    loaded = await asyncio.gather(
        *(link.call("SCRIPT", "LOAD", script.source) for script in scripts), return_exceptions=True
    )
    for script, sha in zip(scripts, loaded, strict=True):
        if isinstance(sha, RedisReplyError):
            return failed(
                f"Redis does not take {script.name}.lua: {sha.message}", "allow this user SCRIPT and EVAL"
            )
        if isinstance(sha, BaseException):
            raise sha
        if sha != script.sha:
            return failed(
                f"Redis knows {script.name}.lua by another sum", "does something rewrite commands on the way?"
            )
    return ok(f"all {len(loaded)} money scripts load")
