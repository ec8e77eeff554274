"""Five hundred calls at once on a wallet that can pay for a hundred, in every shape a hold can have.

The gateways are `rabbitgw serve` with its defaults, new for every burst, so that none has learned from another how long
streams get; the bookkeeper is `rabbitgw work`. Two gateways know nothing of each other's streams: only Redis keeps them
from spending the same money. Told: how many were served whole, how far below zero the wallet went, what is held, lost.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from bench.candidates import Candidate
from bench.driver import load
from bench.reckoning import Reckoning, of_account
from rabbitgw.billing import accounts, keys, wallets
from rabbitgw.billing.price_book import append_prices
from rabbitgw.billing.price_text import price_from_text
from rabbitgw.dev.ports import free_port
from tests.flows.house import until
from tests.flows.processes import ENDLESS_NANOS, Deployment

CALLS = 500
PAYABLE = 100
BOOKED_WITHIN_S = 180.0
INPUT_TOKENS = 19  # that the stub states of every call
PLAIN_OUTPUT_TOKENS = 50
INPUT_NANOS, OUTPUT_NANOS = 1_000, 1_000_000  # per token
PRICE = {"input": "1", "output": "1000"}  # the same, per million


@dataclass(frozen=True)
class Shape:
    """Calls of one kind. A slice is 256 tokens."""

    name: str
    model: str
    max_tokens: int | None = None

    @property
    def cost_nanos(self) -> int:
        """Of a whole answer, by what the stub states."""
        tokens = PLAIN_OUTPUT_TOKENS
        if self.model != "stub-plain":
            chunks, _, *each = map(int, self.model.split("-")[1:])
            tokens = chunks * (each[0] if each else 1)
        return INPUT_TOKENS * INPUT_NANOS + tokens * OUTPUT_NANOS


SHAPES = (
    Shape("stream, the limit is the output", "stub-100-2", 100),
    Shape("stream, no limit, short", "stub-10-1"),
    Shape("stream, no limit, short and slow", "stub-12-50"),
    Shape("stream, no limit, longer than a slice", "stub-300-2"),
    Shape("stream, no limit, three slices, at full speed", "stub-600-0"),
    Shape("stream, limit of three slices", "stub-601-2", 601),
    Shape("stream, limit never reached", "stub-50-2", 4000),
    Shape("stream, no limit, chunks of six tokens", "stub-100-2-6"),
    Shape("plain, limit of four times the answer", "stub-plain", 200),
    Shape("plain, no limit", "stub-plain"),
)


@dataclass(frozen=True)
class Wave:
    """A burst to come: its calls are shared evenly by its shapes and gateways."""

    name: str
    shapes: tuple[Shape, ...]
    gateways: int = 1
    payable: int = PAYABLE


WAVES = (
    *(Wave(shape.name, (shape,)) for shape in SHAPES),
    Wave("stream, no limit, three slices, two gateways", (Shape("", "stub-601-2"),), 2),
    Wave("long stream, no limit, chunks of six tokens, two gateways", (Shape("", "stub-601-2-6"),), 2),
    Wave("the same on one gateway, wallet for 20", (Shape("", "stub-602-2-6"),), payable=20),
    Wave("all shapes above at once, two gateways", SHAPES, 2),
)
QUICK = (WAVES[1], WAVES[4], WAVES[8], *WAVES[10:])


@dataclass(frozen=True)
class Burst:
    """What became of one."""

    name: str
    whole: int
    refused: int
    cut: int
    other: int
    seconds: float
    overspend_nanos: int
    held_nanos: int
    reckoning: Reckoning

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


async def bursts(house: Deployment, *, quick: bool, say: Callable[[str], None]) -> list[Burst]:
    """Run them one after the other, each on a wallet and gateways of its own."""
    await append_prices(house.stores.pg, [price_from_text("stub-*", PRICE)])
    await house.worker()
    done = []
    for wave in QUICK if quick else WAVES:
        ports = [house.port, *(free_port() for _ in range(wave.gateways - 1))]
        gateways = [
            await house.gateway(RABBITGW_PORT=str(port), RABBITGW_DATA_DIR=str(house.folder / f"data-{port}"))
            for port in ports
        ]
        done.append(await _burst(house, wave, ports))
        say(f"money: {line_of(done[-1])}")
        for gateway in gateways:
            await house.terminate(gateway)
    return done


async def _burst(house: Deployment, wave: Wave, ports: Sequence[int]) -> Burst:
    pg = house.stores.pg
    calls = CALLS // (len(wave.shapes) * len(ports))
    parts = [(shape, port, calls) for shape in wave.shapes for port in ports]
    paid_nanos = sum(shape.cost_nanos * calls for shape, _, _ in parts) * wave.payable // CALLS
    account = await accounts.create_account(pg, wave.name)
    await wallets.credit(pg, account, currency="USD", amount_nanos=paid_nanos, idempotency_key=wave.name)
    wanted = keys.NewKey(
        account_id=account.id,
        name="bench",
        lifetime_limit_nanos=ENDLESS_NANOS,
        daily_limit_nanos=ENDLESS_NANOS,
    )
    key = (await keys.create_key(pg, wanted)).secret
    began_s = time.monotonic()
    said = await asyncio.gather(*(_part(key, *part) for part in parts))
    took_s = time.monotonic() - began_s
    await until(house.settled_down, timeout_s=BOOKED_WITHIN_S)
    whole = {one: shape.model for (shape, _, _), part in zip(parts, said, strict=True) for one in part["ids"]}
    failures = [failure for part in said for failure in part["failures"].items()]
    refused = sum(count for what, count in failures if what == "status 429")
    cut = sum(count for what, count in failures if what.endswith(("chunks", "[DONE]")))
    costs = {shape.model: shape.cost_nanos for shape, _, _ in parts}
    lowest, held = await _extremes(house, account)
    return Burst(
        wave.name,
        whole=len(whole),
        refused=refused,
        cut=cut,
        other=sum(count for _, count in failures) - refused - cut,
        seconds=round(took_s, 2),
        overspend_nanos=max(0, -lowest),
        held_nanos=held,
        reckoning=await of_account(pg, account.id, whole, costs, paid_nanos),
    )


async def _part(key: str, shape: Shape, port: int, calls: int) -> dict[str, Any]:
    gateway = Candidate("rabbitgw", "", "", port, key)
    return await load(
        gateway,
        failures_count=False,
        mode="closed",
        model=shape.model,
        max_tokens=shape.max_tokens,
        connections=calls,
        requests=calls,
        keeps_ids=True,
    )


async def _extremes(house: Deployment, account: accounts.Account) -> tuple[int, int]:
    """The lowest balance ever and what is held now, nanos, as Redis has them."""
    partition = house.stores.scripts.names.partition[account.partition]
    values = await house.stores.link.call("HMGET", partition.account(account.id), "o:USD", "h:USD")
    lowest, held = (int(value or 0) for value in values)
    return lowest, held


def line_of(one: Burst) -> str:
    return (
        f"{one.name}: {one.whole} whole, {one.refused} refused, {one.cut} cut, {one.other} other in"
        f" {one.seconds:.1f} s; overspend {one.overspend_nanos}, held {one.held_nanos},"
        f" lost {one.reckoning.lost_nanos} nanos"
    )
