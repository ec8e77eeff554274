"""The checks that every payment provider must pass: for the authors of providers, with any test runner or none.

An author writes a `World` around the provider (world.py says how), and runs what `checks_of` lists, each in a fresh
world; `failures` does that and needs no test runner. A check raises AssertionError with one readable message. Nothing
in the program imports this. docs/PAYMENTS.md has an example.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager

from rabbitgw.payments.conformance import payments, refunds, webhooks
from rabbitgw.payments.conformance.world import Check, Trait, Webhook, World

__all__ = ["CHECKS", "Check", "Trait", "Webhook", "World", "checks_of", "failures"]

CHECKS: tuple[Check, ...] = (*payments.CHECKS, *webhooks.CHECKS, *refunds.CHECKS)


def checks_of(world: type[World]) -> list[Check]:
    """Those that apply: what a provider has not, it is not asked for."""
    return [check for check in CHECKS if check.needs <= world.traits]


async def failures(
    world: type[World], open_world: Callable[[], AbstractAsyncContextManager[World]]
) -> dict[str, str]:
    """Run every check that applies, each in a world of its own. Returns: what failed, by the check's name, and why."""
    failed = {}
    for check in checks_of(world):
        async with open_world() as opened:
            try:
                await check.run(opened)
            except AssertionError as error:
                failed[check.name] = str(error)
    return failed
