"""What upstream says a call cost it: LiteLLM's header, or a member of the usage. Read without trust, never a float.

It is for the operator's reports alone: the header goes to no caller, and no charge depends on it.
Units: US dollars as decimal text; nanos of them.
"""

from __future__ import annotations

from decimal import ROUND_HALF_EVEN, Decimal, InvalidOperation
from typing import Any, Final

from rabbitgw.money import NANOS_PER_UNIT

HEADER: Final = b"x-litellm-response-cost"
USD_MAX: Final = 1_000_000  # of one call: what is above is no cost
_CHARS_MAX: Final = 64


def stated_cost_nanos(stated: Any) -> int | None:
    """Bytes of the header, or a JSON number, which is read by its shortest text. None for what is no cost."""
    text = stated.decode("latin-1") if isinstance(stated, bytes) else str(stated)
    if isinstance(stated, bool) or len(text) > _CHARS_MAX:
        return None
    try:
        amount = Decimal(text.strip())
    except InvalidOperation:
        return None
    if not amount.is_finite() or not 0 <= amount <= USD_MAX:
        return None
    return int((amount * NANOS_PER_UNIT).to_integral_value(ROUND_HALF_EVEN))
