"""One Stripe account: its objects, its clock, its log of events. Knows no HTTP and no rule of payment.

Everything here runs without an await, so that a request, or what a person does, happens at once or not at all.
An event's `data.object` is the object as it was at that moment; later changes do not reach it.
"""

from __future__ import annotations

import copy
import random
import string
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from tests.fakes.stripe import objects, standing
from tests.fakes.stripe.errors import no_such
from tests.fakes.stripe.objects import Obj
from tests.fakes.stripe.tables import API_VERSION, EVENT_TYPES, LOCAL_CURRENCY

LETTERS = string.ascii_letters + string.digits
PREFIXES = {
    "payment_intent": "pi_3",
    "charge": "ch_3",
    "payment": "py_3",  # a charge that is no card's
    "refund": "re_3",
    "dispute": "dp_1",
    "customer": "cus_",
    "balance_transaction": "txn_3",
    "payment_method": "pm_1",
    "event": "evt_1",
}


class Account:
    def __init__(self, livemode: bool, country: str, seed: int) -> None:
        self.livemode = livemode
        self.country = country
        self.currency = LOCAL_CURRENCY.get(country, "usd")
        self.methods = ("card", "alipay")  # what the dashboard has switched on
        self.objects: dict[str, Obj] = {}  # by id, in the order they were made
        self.events: list[Obj] = []
        self.on_event: Callable[[Obj], None] = lambda event: None
        self.settles_in: str | None = None  # None: each charge in its own currency
        self.rates: dict[str, str] = {}  # currency of a charge -> units of the settlement currency for one
        self.balance_late = False  # a charge gets its balance transaction by `settle` only, not at once
        self.refund_outcomes: list[str] = []  # of the next refunds, in order
        self.unindexed_from: int | None = None  # search knows only what was made before this many objects
        self._random = random.Random(f"{seed} {livemode}")
        self._ahead_s = 0
        self._request: Obj = {"id": None, "idempotency_key": None}
        self.account = standing.account(self.id("acct_1"), country, self.currency) | {"created": self.now}

    # -- clock and ids

    @property
    def now(self) -> int:
        """Unix time, as far ahead as tests have moved it."""
        return int(time.time()) + self._ahead_s

    def advance(self, seconds: int) -> None:
        if seconds < 0:
            raise ValueError("time does not run backwards")
        self._ahead_s += seconds

    def letters(self, count: int) -> str:
        return "".join(self._random.choices(LETTERS, k=count))

    def id(self, prefix: str) -> str:
        return prefix + self.letters(23)

    def new_id(self, kind: str) -> str:
        if kind == "checkout.session":
            return ("cs_live_" if self.livemode else "cs_test_") + self.letters(58)
        return self.id(PREFIXES[kind]) if kind != "customer" else "cus_" + self.letters(14)

    # -- objects

    def add(self, made: Obj) -> Obj:
        made["created"] = self.now
        if made["object"] not in ("refund", "balance_transaction"):  # those two state no livemode
            made["livemode"] = self.livemode
        self.objects[made["id"]] = made
        return made

    def all(self, kind: str) -> list[Obj]:
        """Every object of a kind that was not deleted, oldest first."""
        return [
            found for found in self.objects.values() if found["object"] == kind and "deleted" not in found
        ]

    def get(self, kind: str, id: str, *, param: str = "id", in_path: bool = True) -> Obj:
        found = self.objects.get(id)
        gone = found is not None and found.get("deleted", False) and not in_path
        if found is None or found["object"] != kind or gone:
            raise no_such(kind, id, param=param, in_path=in_path)
        return found

    # -- events

    @contextmanager
    def during(self, request_id: str, key: str | None) -> Iterator[None]:
        """Events made inside name this request as their cause."""
        before = self._request
        self._request = {"id": request_id, "idempotency_key": key}
        try:
            yield
        finally:
            self._request = before

    def emit(self, type: str, about: Obj, previous: Obj | None = None) -> Obj:
        if type not in EVENT_TYPES:
            raise ValueError(f"no event type of ours: {type}")
        data: Obj = {"object": objects.answered(about)}
        if previous is not None:
            data["previous_attributes"] = copy.deepcopy(previous)
        event: Obj = {
            "id": self.new_id("event"),
            "object": "event",
            "api_version": API_VERSION,
            "created": self.now,
            "data": data,
            "livemode": self.livemode,
            "pending_webhooks": 0,
            "request": dict(self._request),
            "type": type,
        }
        self.events.append(event)
        self.on_event(event)
        return event

    def change(self, about: Obj, type: str | None, **fields: object) -> None:
        """Set fields and, with a type, make an event that says what they were before."""
        previous = {name: about[name] for name in fields if about.get(name) != fields[name] and name in about}
        about.update(fields)
        if type is not None:
            self.emit(type, about, previous if type.endswith((".updated", ".refunded")) else None)
