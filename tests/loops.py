"""Runs a coroutine test once on each event loop that the product may meet."""

from __future__ import annotations

import asyncio
import functools
import inspect
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
import uvloop

LOOPS = {"asyncio": asyncio.new_event_loop, "uvloop": uvloop.new_event_loop}
WAIT_S = 20.0  # generous: a loaded machine must not fail a test


def on_both_loops(test: Callable[..., Awaitable[None]]) -> Callable[..., None]:
    """Make a plain test of an `async def` one; its other arguments stay fixtures or parameters."""
    signature = inspect.signature(test)

    @functools.wraps(test)
    def run(loop_name: str, **arguments: Any) -> None:
        with asyncio.Runner(loop_factory=LOOPS[loop_name]) as runner:
            runner.run(_bounded(test, arguments))

    del run.__wrapped__
    first = inspect.Parameter("loop_name", inspect.Parameter.KEYWORD_ONLY)
    run.__signature__ = signature.replace(parameters=[*signature.parameters.values(), first])
    return pytest.mark.parametrize("loop_name", list(LOOPS))(run)


async def _bounded(test: Callable[..., Awaitable[None]], arguments: dict[str, Any]) -> None:
    async with asyncio.timeout(3 * WAIT_S):
        await test(**arguments)


async def until(fact: Callable[[], Any], what: str = "the awaited state") -> None:
    """Poll until `fact()` is true."""
    deadline = asyncio.get_running_loop().time() + WAIT_S
    while not fact():
        assert asyncio.get_running_loop().time() < deadline, f"never came: {what}"
        await asyncio.sleep(0.005)
