"""POST /_test/<name>: what a test calls on the fake, for tests that hold it in another process.

The body is a JSON object of arguments, or an array of them in order; the answer is the result as JSON. A step that
Stripe's states forbid answers 409, a mistake of the test 400.
"""

from __future__ import annotations

import inspect
import json
from dataclasses import fields, is_dataclass
from typing import TYPE_CHECKING, Any

from aiohttp import web

from tests.fakes.stripe.errors import StripeRefusal
from tests.fakes.stripe.tables import words

if TYPE_CHECKING:
    from tests.fakes.stripe.fake import FakeStripe

CALLS = frozenset(
    words(
        """add_endpoint advance all authenticate cancel_by_dashboard change_endpoints clear_faults close_dispute
    complete_session dashboard_refund delete_customer deliver dispute drop events expire_session
    fail_refund fault find finish_processing finish_redirect finish_session idle late_balance
    next_refunds open_gate pause_search_index pay pay_elsewhere redeliver reinstate_funds
    remove_endpoints reset settle settle_in signed succeed_refund tamper undelivered update_dispute
    withdraw_funds"""
    )
)
LOOKS = frozenset({"requests", "deliveries", "pending_webhooks", "url"})


async def control(stripe: FakeStripe, request: web.Request) -> web.Response:
    name = request.match_info["name"]
    if name in LOOKS:
        return web.json_response(plain(getattr(stripe, name)))
    if name not in CALLS:
        return web.json_response({"error": f"no such control: {name}"}, status=404)
    try:
        given = json.loads(await request.text() or "{}")
        positional, named = (given, {}) if isinstance(given, list) else ([], given)
        if name == "signed":
            named["payload"] = named["payload"].encode()
        result = getattr(stripe, name)(*positional, **named)
        if inspect.isawaitable(result):
            result = await result
    except StripeRefusal as refusal:
        return web.json_response({"error": refusal.error}, status=409)
    except (KeyError, TypeError, ValueError) as mistake:
        return web.json_response({"error": f"{type(mistake).__name__}: {mistake}"}, status=400)
    return web.json_response(plain(result))


def plain(value: Any) -> Any:
    """As JSON can hold it: records as objects, bytes as text, what is neither by its name."""
    if is_dataclass(value) and not isinstance(value, type):
        return {field.name: plain(getattr(value, field.name)) for field in fields(value)}
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    if isinstance(value, bytes):
        return value.decode(errors="replace")
    return value if value is None or isinstance(value, str | int | float) else repr(value)
