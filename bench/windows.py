"""What money costs Redis: its CPU for one reserve and one settle, by the number of windows and rates above the key.

    python -m bench.windows [--quick] [--out DIRECTORY]

The scripts are sent as the product sends them, to a Redis of the product's settings. Beside them, in every round, runs
the least that bills: the two scripts of bench/peers/by_hand.lua, which know one window. Ratios are taken within a round
and only then the median, so that a slow moment is slow for both. Time is counted twice: all CPU of Redis' process
(sockets and append-only file included), and what Redis itself counts within EVALSHA, which is time on the wall: on a
busy machine it has the waits for a core in it.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import json
import os
import re
import sys
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from bench.figures import Figure, line
from bench.processes import cpu_ns
from rabbitgw.billing.windows import DAY, WindowRule, check_of, span_of
from rabbitgw.clock import now_ms
from rabbitgw.dev.files import throw_away_dir
from rabbitgw.dev.redis import RedisServer, find_redis, start_redis
from rabbitgw.keynames import KeyNames
from rabbitgw.prepared import RateCheck
from rabbitgw.redis_link import RedisLink
from rabbitgw.scripts import Scripts
from rabbitgw.stores import open_redis, redis_facts

RESULTS = Path(__file__).parent / "results"
PEER = Path(__file__).parent / "peers" / "by_hand.lua"
WINDOWS = (0, 1, 3, 6, 16)
RATES = 2  # where there are any: one of the key and one of its account, as most have
AT_ONCE = 16  # calls under way, as in the table of the whole gateway
ENDLESS = 10**17
HOLD_NANOS, COST_NANOS, TOKENS = 500, 120, 64
ACCOUNT, PARTITION, KEY, WORKER = 41, 2, 7, "w-bench"
AGE_MAX_MS = 3_600_000
BACKLOG_MAX = 10**9
EVENTS_MOST = 10_000  # the stream is cut to it between rounds: nobody books here
TICKET = b'{"k":7,"u":3,"m":"gpt-4o-mini","d":"openai-chat","v":12,"i":230,"s":true}'
PAYLOAD = (
    b'{"k":7,"u":3,"m":"gpt-4o-mini","d":"openai-chat","v":12,"us":"provider","in":230,"out":64,"ci":0,"a":1,'
    b'"at":1700000000000,"fb":1700000000300,"fi":1700000001300,"um":"gpt-4o-mini-2024-07-18"}'
)

Pair = Callable[[int], Awaitable[None]]  # one call by its number: a reserve and its settle


@dataclass(frozen=True)
class Offer:
    amount_nanos: int = HOLD_NANOS
    least_nanos: int = HOLD_NANOS
    last: bool = False


@dataclass(frozen=True)
class Plan:
    rounds: int
    pairs: int  # a case and round

    @classmethod
    def of(cls, *, quick: bool) -> Plan:
        return cls(rounds=3, pairs=1000) if quick else cls(rounds=15, pairs=4000)


def _hold_id(number: int) -> str:
    return f"01930000-0000-7000-8000-{number:012x}"


def ours(scripts: Scripts, windows: int, rates: int) -> Pair:
    """Calls of a key under so many daily windows and rates, none of which refuses."""
    at_ms = now_ms()
    rules = [WindowRule(window, DAY, ENDLESS, "UTC", "00:00") for window in range(1, windows + 1)]
    command = scripts.reserve_command(
        PARTITION,
        ACCOUNT,
        worker_id=WORKER,
        currency="USD",
        key_id=KEY,
        generation=1,
        max_age_ms=AGE_MAX_MS,
        backlog_max=BACKLOG_MAX,
        windows=[check_of(rule, span_of(rule, at_ms), at_ms) for rule in rules],
        rates=[RateCheck(rate, 10**9, 10**12, 10**6) for rate in range(1, rates + 1)],
    )
    ends = scripts.end_commands(PARTITION, ACCOUNT, "USD")
    offers = command.offers([Offer()])

    async def pair(number: int) -> None:
        hold_id = _hold_id(number)
        asked = command.filled(hold_id, offers, TICKET, TOKENS)
        reply = await scripts.reserved(asked, scripts.link.send(asked))
        assert reply.word == "OK", reply
        told = ends.settle(hold_id, COST_NANOS, now_ms(), "settled", PAYLOAD, TOKENS if rates else None)
        ended = await scripts.settled(told, scripts.link.send(told))
        assert ended.word == "OK", ended

    return pair


async def by_hand(link: RedisLink) -> Pair:
    """Calls of the peer: one wallet, one window."""
    reserve, settle = re.findall(r"(?:RESERVE|SETTLE) = \[\[\n(.*?)\]\]", PEER.read_text("utf-8"), re.DOTALL)
    shas = [await link.call("SCRIPT", "LOAD", text) for text in (reserve, settle)]
    keys = ("{b}:account", "{b}:day", "{b}:holds")
    await link.call("HSET", keys[0], "balance", ENDLESS, "held", 0)

    async def pair(number: int) -> None:
        hold_id = _hold_id(number)
        deadline_s = now_ms() // 1000 + 600
        assert await link.call("EVALSHA", shas[0], 3, *keys, hold_id, HOLD_NANOS, deadline_s) == 1
        done = await link.call(
            "EVALSHA", shas[1], 4, *keys, "{b}:events", hold_id, HOLD_NANOS, COST_NANOS, PAYLOAD
        )
        assert done == 1

    return pair


Case = tuple[int, int] | None  # windows and rates; None: by hand
Costs = dict[
    Case, list[tuple[float, float]]
]  # a round: CPU of the process, time within EVALSHA, in microseconds


class Bench:
    """One Redis, and what each case cost it, round by round."""

    def __init__(self, server: RedisServer, link: RedisLink) -> None:
        self._server = server
        self._link = link
        self._numbers = itertools.count(1)

    async def run(self, plan: Plan, say: Callable[[str], None]) -> Costs:
        names = KeyNames(4, 1)
        scripts = Scripts(self._link, names)
        keys = names.partition[PARTITION]
        await self._link.call("SET", keys.epoch_key, 1)
        await scripts.load(PARTITION, ACCOUNT, {"b:USD": ENDLESS, "h:USD": 0, "s:USD": 0, f"g:{KEY}": 1})
        cases: dict[Case, Pair] = {None: await by_hand(self._link)}
        cases |= {(number, rates): ours(scripts, number, rates) for rates in (0, RATES) for number in WINDOWS}
        costs: Costs = {case: [] for case in cases}
        for pair in cases.values():
            await self._spend(pair, plan.pairs // 4)  # loads the scripts, makes the fields
        for number in range(plan.rounds):
            # every other round backwards, so that a drift within rounds cancels
            for case, pair in list(cases.items())[:: -1 if number % 2 else 1]:
                costs[case].append(await self._cost(pair, plan.pairs))
                for stream in (keys.events, "{b}:events"):
                    await self._link.call("XTRIM", stream, "MAXLEN", EVENTS_MOST)
            peer, bare, most = (costs[case][-1][0] for case in (None, (0, 0), (WINDOWS[-1], 0)))
            say(
                f"windows, round {number + 1} of {plan.rounds}: by hand {peer:.1f} µs,"
                f" no window {bare:.1f}, {WINDOWS[-1]} windows {most:.1f}"
            )
        return costs

    async def _spend(self, pair: Pair, count: int) -> None:
        """So many calls, AT_ONCE at a time."""
        numbers = iter([next(self._numbers) for _ in range(count)])

        async def caller() -> None:
            for number in numbers:
                await pair(number)

        await asyncio.gather(*(caller() for _ in range(AT_ONCE)))

    async def _cost(self, pair: Pair, count: int) -> tuple[float, float]:
        """Of one pair."""
        inside_us, used_ns = await self._inside_us(), cpu_ns([self._server.pid])
        await self._spend(pair, count)
        used_ns = cpu_ns([self._server.pid]) - used_ns
        return used_ns / count / 1000, (await self._inside_us() - inside_us) / count

    async def _inside_us(self) -> int:
        told = (await redis_facts(self._link, "commandstats")).get("cmdstat_evalsha", "")
        found = re.search(r"usec=(\d+)", told)
        return int(found[1]) if found else 0


def summed(costs: Costs) -> dict[str, Any]:
    """Rows by case, and what one more window costs: a line through the cases of a round, then the median."""
    kinds = ("process_us", "evalsha_us")

    def figure(case: Case, kind: int) -> Figure:
        return Figure(tuple(cost[kind] for cost in costs[case]))

    rows = [
        {
            "case": "rabbitgw" if case else "by hand",
            "windows": case[0] if case else 1,
            "rates": case[1] if case else 0,
            **{name: figure(case, kind).to_json() for kind, name in enumerate(kinds)},
            "times_by_hand": round(figure(case, 0).over(figure(None, 0)), 3),
            "evalsha_times_by_hand": round(figure(case, 1).over(figure(None, 1)), 3),
        }
        for case in costs
    ]
    added = {}
    for rates in (0, RATES):
        for kind, name in enumerate(kinds):
            by_round = zip(*(figure((number, rates), kind).rounds for number in WINDOWS), strict=True)
            slopes = tuple(line(list(zip(WINDOWS, values, strict=True)))[0] for values in by_round)
            added[f"{name}, {rates} rates"] = Figure(slopes).to_json()
    return {"rows": rows, "added_by_a_window": added}


def as_markdown(results: dict[str, Any]) -> str:
    lines = [
        "# What a window costs Redis",
        "",
        f"Made by `make bench`, {results['date']}, Redis {results['redis']}, {results['cores']} cores:"
        f" {results['rounds']} rounds of {results['pairs']} calls a case. Microseconds of one reserve and one settle."
        " A cell is the median of the rounds, with the lowest and the highest.",
        "",
        "| | windows | rates | CPU of Redis | × by hand | within EVALSHA | × by hand |",
        "|---|---:|---:|---:|---:|---:|---:|",
    ]
    for row in results["rows"]:
        cells = (
            row["case"], row["windows"], row["rates"], _cell(row["process_us"]), f"{row['times_by_hand']:.2f}",
            _cell(row["evalsha_us"]), f"{row['evalsha_times_by_hand']:.2f}",
        )  # fmt: skip
        lines.append(f"| {' | '.join(map(str, cells))} |")
    lines += ["", "One more window adds:", ""]
    lines += [f"- {name}: {_cell(figure)}" for name, figure in results["added_by_a_window"].items()]
    return "\n".join(lines) + "\n"


def _cell(figure: dict[str, Any]) -> str:
    return f"{figure['median']:.1f} ({figure['low']:.1f}–{figure['high']:.1f})"


async def measure(plan: Plan, say: Callable[[str], None]) -> dict[str, Any]:
    """On a Redis of its own."""
    _, version = find_redis()
    with throw_away_dir() as folder:
        server = await start_redis(folder)
        try:
            link = await open_redis(server.url)
            try:
                costs = await Bench(server, link).run(plan, say)
            finally:
                await link.close()
        finally:
            await server.stop()
    return {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "cores": len(os.sched_getaffinity(0)),
        "redis": ".".join(map(str, version)),
        "rounds": plan.rounds,
        "pairs": plan.pairs,
        **summed(costs),
    }


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.windows", description="what a window costs Redis")
    parser.add_argument("--quick", action="store_true", help="fewer rounds: seconds")
    parser.add_argument("--out", type=Path, default=RESULTS)
    chosen = parser.parse_args()
    results = asyncio.run(
        measure(Plan.of(quick=chosen.quick), lambda text: print(text, file=sys.stderr, flush=True))
    )
    chosen.out.mkdir(parents=True, exist_ok=True)
    (chosen.out / "windows.json").write_text(
        json.dumps(results, indent=1, ensure_ascii=False) + "\n", "utf-8"
    )
    (chosen.out / "windows.md").write_text(as_markdown(results), "utf-8")
    print(as_markdown(results), end="")


if __name__ == "__main__":
    main()
