"""`python -m tests.fakes.stripe --port 0`: the fake as a process. Its first line is its URL; SIGTERM ends it."""

from __future__ import annotations

import argparse
import asyncio
import signal

from tests.fakes.stripe.fake import open_fake_stripe


async def serve(given: argparse.Namespace) -> None:
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    async with open_fake_stripe(
        given.secret_key,
        given.publishable_key,
        livemode=given.livemode,
        country=given.country,
        seed=given.seed,
        port=given.port,
    ) as stripe:
        print(stripe.url, flush=True)
        await stop.wait()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m tests.fakes.stripe")
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--secret-key", default="sk_test_fake")
    parser.add_argument("--publishable-key", default="pk_test_fake")
    parser.add_argument("--livemode", action="store_true")
    parser.add_argument("--country", default="US")
    parser.add_argument("--seed", type=int, default=0)
    asyncio.run(serve(parser.parse_args()))
