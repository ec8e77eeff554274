"""Calls for images and sound: what they hold before they go, and what is charged at their end.

They cannot be stopped midway, so the worst case is held in whole, nothing is extended and the answer is always read to
its end. The rules of the charge, in the order they are tried:
  tokens or seconds that upstream stated are charged where the price is by them, and images as they came;
  of an answer that states nothing what was asked for is charged, whole or broken off: upstream has done the work;
  nothing delivered is released.
"""

from __future__ import annotations

from dataclasses import replace

from rabbitgw.billing.hold import Terms
from rabbitgw.billing.prices import Price
from rabbitgw.billing.usage import PARTIAL as ENDED_EARLY
from rabbitgw.billing.wanted import Wanted, heard_at, likely_usage, unpriced, with_pieces, worst_nanos
from rabbitgw.config import Settings
from rabbitgw.errors import ModelNotPriced
from rabbitgw.proxy.call import Call
from rabbitgw.proxy.dialects import JSON_TYPES
from rabbitgw.proxy.forwarder import SSE_TYPE
from rabbitgw.proxy.meter.plain import PlainReader
from rabbitgw.proxy.quote import Quote
from rabbitgw.proxy.relay import Outcome, Relay
from rabbitgw.proxy.verdict import PARTIAL, SETTLED, Verdict, error_code


def media_quote(call: Call, price: Price, settings: Settings) -> Quote:
    """The one offer for such a call: its worst case.

    Raises: ModelNotPriced when the call asks for what this price does not hold.
    """
    assert call.wanted is not None
    wanted = call.wanted = heard_at(call.wanted, settings.audio_bytes_per_s)
    missing = unpriced(price, wanted)
    if missing:
        raise ModelNotPriced(
            f"the model {call.model!r} has no price for: {', '.join(missing)}", field=_field_of(missing[0])
        )
    nanos = worst_nanos(price, wanted, settings.input_tokens_per_kilobyte)
    return Quote(
        offers=(Terms(nanos, nanos, nanos),),
        plain_input_nanos=nanos,
        output_nanos_per_mtok=0,
        output_tokens_max=None,
        slice_tokens=0,
        held_input_tokens=0,
        limit_is_ours=False,
        reasons=False,
    )


def read_as(call: Call, relay: Relay, kind: bytes) -> tuple[bool, bool]:
    """Read an answer as what it is: one that was to be streamed may come whole, as from a model that cannot. Only what
    is said to be JSON is looked at: sound and words may hold anything.

    Returns: whether it can be sold; whether it is a stream of events.
    """
    if call.stream and kind.startswith(SSE_TYPE):
        return True, True
    relay.read_with(PlainReader(call.dialect.name, is_json=kind.startswith(JSON_TYPES)))
    return kind.startswith(call.dialect.answers), False


def media_verdict(outcome: Outcome, relay: Relay, wanted: Wanted, price: Price) -> Verdict:
    """What is charged, and why the answer is not whole if it is not."""
    reader = relay.reader
    code = error_code(outcome, relay)
    stated, made = reader.usage, reader.made
    whole = outcome is Outcome.WHOLE and reader.error is None
    if stated is None and not reader.delivered_any:
        return Verdict(SETTLED if whole else PARTIAL, None, code)
    if stated is not None:
        usage = with_pieces(price, wanted, stated, made)
    else:
        usage = likely_usage(price, wanted, made)
    if not whole:
        usage = replace(usage, source=ENDED_EARLY)
    return Verdict(SETTLED if whole else PARTIAL, usage, code)


def _field_of(part: str) -> str:
    """The field by which the caller asked for it."""
    if part.startswith("images:"):
        return "quality" if part.count(":") > 1 else "size"
    return "model"
