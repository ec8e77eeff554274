"""What an answer costs: from how it ended and what the meter read, to usage, status and error.

The rules, whole, in the order they are tried:
  usage that upstream stated is charged, however the answer ended;
  without it, a charge follows only if output was delivered: an estimate of the input, and of the delivered text;
  nothing delivered and nothing stated is released. Never free, never the full estimate.
"""

from __future__ import annotations

import asyncio
from functools import cache
from typing import Final, Literal, NamedTuple

from rabbitgw import telemetry
from rabbitgw.billing.usage import Usage
from rabbitgw.proxy.call import Call
from rabbitgw.proxy.meter.estimate import (
    Count,
    by_bytes,
    charged_usage,
    estimate_input_tokens,
    estimate_output_tokens,
    load_tokenizer,
)
from rabbitgw.proxy.meter.plain import PlainReader
from rabbitgw.proxy.meter.stream import StreamReader
from rabbitgw.proxy.relay import Outcome, Relay

CODE_CHARS_MAX: Final = 64
CLIENT_LEFT: Final = "client_left"
SETTLED: Final = "settled"
PARTIAL: Final = "partial"
_new: Final = tuple.__new__  # makes a NamedTuple without the Python function that knows its defaults


class Verdict(NamedTuple):
    """`usage` None: release the hold, nothing is charged."""

    status: Literal["settled", "partial"]
    usage: Usage | None
    error_code: str | None = None


async def judge(outcome: Outcome, relay: Relay, call: Call) -> Verdict:
    """Decide what is charged. Estimates run off the event loop: a tokenizer takes milliseconds."""
    verdict = judge_now(outcome, relay)
    if verdict is not None:
        return verdict
    reader = relay.reader
    whole = outcome is Outcome.WHOLE and reader.error is None
    input_tokens, output_tokens = await asyncio.to_thread(estimates, call, reader)
    usage = charged_usage(
        reader, reader.usage, input_tokens=input_tokens, output_tokens=output_tokens, whole=whole
    )
    return Verdict(SETTLED if whole else PARTIAL, usage, error_code(outcome, relay))


def judge_now(outcome: Outcome, relay: Relay) -> Verdict | None:
    """`judge` of what needs no estimate, which is nearly every answer; None of the others."""
    reader = relay.reader
    if outcome is Outcome.WHOLE:
        exact = reader.whole_usage()
        if exact is not None:  # nearly always; what is below comes to the same
            return _new(Verdict, (SETTLED, exact, None))
    stated = reader.usage
    if (stated is None or not reader.input_stated or not reader.output_stated) and reader.delivered_any:
        return None
    whole = outcome is Outcome.WHOLE and reader.error is None
    if whole and stated is not None:
        return Verdict(SETTLED, stated)
    usage = charged_usage(reader, stated, input_tokens=0, output_tokens=0, whole=whole)
    return Verdict(SETTLED if whole else PARTIAL, usage, error_code(outcome, relay))


def estimates(call: Call, reader: StreamReader | PlainReader) -> tuple[int, int]:
    """(input tokens, output tokens), as well as they can be told without the provider's word."""
    try:
        return counts(call, reader, counter())
    except Exception as error:  # a tokenizer that stumbles over a text
        telemetry.error("request_failed", exc=error)
        return counts(call, reader, by_bytes)


def counts(call: Call, reader: StreamReader | PlainReader, count: Count) -> tuple[int, int]:
    return estimate_input_tokens(call.body, count), estimate_output_tokens(reader.output_sample(), count)


@cache
def counter() -> Count:
    """The tokenizer where the optional extra is installed, else bytes."""
    return load_tokenizer() or by_bytes


def error_code(outcome: Outcome, relay: Relay) -> str | None:
    """Why it is not whole, as far as the answer itself says."""
    if outcome is Outcome.BROKE and relay.error is not None:
        return relay.error.code
    said = relay.reader.error
    if said is None:  # a client that hears of an error leaves: that is not why
        return CLIENT_LEFT if outcome is Outcome.LEFT else None
    code = said.get("code") or said.get("type")
    return code[:CODE_CHARS_MAX] if isinstance(code, str) else "upstream_error"
