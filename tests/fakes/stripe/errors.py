"""A refusal as Stripe words it: the status, the error object, and whether an idempotency key keeps it.

Stripe keeps the answer of a key once an endpoint has begun its work. A request that failed validation began none, so
its key stays free; a refusal that rests on the state of things (a card declined, a charge refunded before) is kept.
"""

from __future__ import annotations

from typing import Any

from tests.fakes.stripe.tables import PAGES


class StripeRefusal(Exception):
    """Answered as `{"error": …}` over HTTP, raised as it is by the methods that tests call."""

    def __init__(
        self,
        message: str,
        *,
        status: int = 400,
        type: str = "invalid_request_error",
        code: str | None = None,
        param: str | None = None,
        kept: bool = False,
        **more: Any,
    ) -> None:
        super().__init__(f"{status} {code or type}: {message}")
        self.status = status
        self.kept = kept
        self.code = code
        fields = {"code": code, "doc_url": PAGES + code.replace("_", "-") if code else None, "param": param}
        self.error: dict[str, Any] = {
            "message": message,
            "type": type,
            **{name: value for name, value in (fields | more).items() if value is not None},
        }


def no_such(kind: str, id: str, *, param: str = "id", in_path: bool = True) -> StripeRefusal:
    """404 for an id in the path, 400 for one among the parameters."""
    status = 404 if in_path else 400
    return StripeRefusal(f"No such {kind}: '{id}'", status=status, code="resource_missing", param=param)


def state_forbids(message: str, code: str, **more: Any) -> StripeRefusal:
    """What is asked is well formed, but things have moved on: kept under its idempotency key."""
    return StripeRefusal(message, code=code, kept=True, **more)
