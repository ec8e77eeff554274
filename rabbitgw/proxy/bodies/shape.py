"""What the reader of one dialect's bodies offers to parsing.py."""

from __future__ import annotations

from collections.abc import Callable

from rabbitgw.proxy.bodies.names import unchecked
from rabbitgw.proxy.call import Call


class Shape:
    """priced_fields: whose value changes what the call costs or who serves it; a case variant of one is refused.

    unchecked: names that need no look; a body has nearly always no others.
    read: fills the Call from its body; raises RequestInvalid naming the field.
    mark(call, user, request_id): writes what upstream is to know of us into the body.
    """

    __slots__ = ("mark", "priced_fields", "read", "unchecked")

    def __init__(
        self,
        priced_fields: frozenset[str],
        read: Callable[[Call], None],
        mark: Callable[[Call, str, str], None],
    ) -> None:
        self.priced_fields = priced_fields
        self.unchecked = unchecked(priced_fields)
        self.read = read
        self.mark = mark


def mark_openai(call: Call, user: str, request_id: str) -> None:
    """`user` is who upstream counts for; our id stands in the metadata, beside what the caller put there."""
    body = call.body
    body["user"] = user
    known = body.get("metadata")
    body["metadata"] = (
        {**known, "rabbitgw_request_id": request_id} if known else {"rabbitgw_request_id": request_id}
    )
