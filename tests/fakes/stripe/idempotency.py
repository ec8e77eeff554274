"""Idempotency keys: the first answer of a key is replayed for 24 hours, whatever it was.

A key is held while its request runs: another request with it meets 409. It is given back when nothing began.
"""

from __future__ import annotations

from dataclasses import dataclass

from tests.fakes.stripe.account import Account
from tests.fakes.stripe.errors import StripeRefusal
from tests.fakes.stripe.tables import KEY_CHARS_MAX, KEY_KEPT_S


@dataclass
class Kept:
    asked: str  # method, path and parameters
    since: int
    request_id: str
    status: int = 0  # 0 while its request runs
    body: bytes = b""


class Keys:
    def __init__(self, account: Account) -> None:
        self._account = account
        self._kept: dict[str, Kept] = {}

    def begin(self, key: str, asked: str, request_id: str) -> Kept | None:
        """What is replayed; or None, and the key is held until `keep` or `release`."""
        if not 0 < len(key) <= KEY_CHARS_MAX:
            message = f"Idempotency keys have 1 to {KEY_CHARS_MAX} characters; this one has {len(key)}."
            raise StripeRefusal(message, type="idempotency_error")
        kept = self._kept.get(key)
        if kept is not None and kept.status and self._account.now - kept.since >= KEY_KEPT_S:
            kept = None
        if kept is None:
            self._kept[key] = Kept(asked, self._account.now, request_id)
            return None
        if kept.asked != asked:
            message = (
                "Keys for idempotent requests can only be used with the same parameters they were first used with. "
                f"Try using a key other than '{key}' if you meant to execute a different request."
            )
            raise StripeRefusal(message, type="idempotency_error")
        if not kept.status:
            message = f"There is currently another in-progress request using this idempotency key: {key}"
            raise StripeRefusal(message, status=409, type="idempotency_error", code="idempotency_key_in_use")
        return kept

    def keep(self, key: str, status: int, body: bytes) -> None:
        kept = self._kept[key]
        kept.status, kept.body = status, body

    def release(self, key: str) -> None:
        if not self._kept[key].status:
            del self._kept[key]
