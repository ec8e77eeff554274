"""The fake in a process of its own, called over its control routes with the same names and arguments.

async with open_stripe_process() as stripe:
    await stripe.pay(pi_id, card="4000000000000002")
    requests = await stripe.look("requests")
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp

from tests.fakes.stripe.errors import StripeRefusal

ROOT = Path(__file__).parent.parent.parent.parent
STARTS_WITHIN_S = 60
ENDS_WITHIN_S = 30


class StripeProcess:
    def __init__(self, url: str, session: aiohttp.ClientSession) -> None:
        self.url = url
        self._session = session

    def __getattr__(self, name: str) -> Callable[..., Awaitable[Any]]:
        """Any method of FakeStripe that control.py lets through; each is awaited here."""
        if name.startswith("_"):
            raise AttributeError(name)

        async def call(*positional: Any, **named: Any) -> Any:
            if positional and named:
                raise TypeError("positional or named arguments, not both")
            return await self._post(name, list(positional) if positional else named)

        return call

    async def look(self, name: str) -> Any:
        """requests, deliveries, pending_webhooks or url, as JSON."""
        return await self._post(name, {})

    async def _post(self, name: str, arguments: Any) -> Any:
        async with self._session.post(f"{self.url}/_test/{name}", json=arguments) as response:
            answer = await response.json()
            if response.status == 409:
                raise StripeRefusal(**{k: v for k, v in answer["error"].items() if k != "doc_url"})
            if response.status != 200:
                raise ValueError(answer["error"])
            return answer


@asynccontextmanager
async def open_stripe_process(*arguments: str) -> AsyncIterator[StripeProcess]:
    """`arguments` are those of `python -m tests.fakes.stripe`."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tests.fakes.stripe", *arguments, cwd=ROOT, stdout=asyncio.subprocess.PIPE
    )
    try:
        assert process.stdout is not None
        async with asyncio.timeout(STARTS_WITHIN_S):
            url = (await process.stdout.readline()).decode().strip()
        if not url.startswith("http://"):
            raise RuntimeError("the fake Stripe did not start")
        async with aiohttp.ClientSession() as session:
            yield StripeProcess(url, session)
    finally:
        if process.returncode is None:
            process.terminate()
        async with asyncio.timeout(ENDS_WITHIN_S):
            await process.wait()
