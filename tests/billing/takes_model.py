"""The rules of takes, said once more in plain Python: what is set aside, and which takes were put back.

Written from the rules and not from the Lua.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from uuid import UUID

from rabbitgw.replies import PutBackReply, SetAsideReply


@dataclass
class TakesModel:
    aside: dict[UUID, int] = field(default_factory=dict)
    barred: dict[UUID, int] = field(default_factory=dict)  # since when

    @property
    def held(self) -> int:
        return sum(self.aside.values())

    def fields(self) -> dict[str, str]:
        """Of the account's hash."""
        return {f"a:USD:{take_id}": str(amount) for take_id, amount in self.aside.items()}

    def set_aside(self, take_id: UUID, amount: int, seq: int, available: int, stored: int) -> SetAsideReply:
        if take_id in self.barred:
            return SetAsideReply("GONE")
        if take_id in self.aside:
            return SetAsideReply("HELD", available_nanos=available)
        if stored != seq:
            return SetAsideReply("STALE" if stored > seq else "GAP", stored_seq=stored)
        if available < amount:
            return SetAsideReply("SHORT", available_nanos=available)
        self.aside[take_id] = amount
        return SetAsideReply("OK", available_nanos=available - amount)

    def put_back(self, take_id: UUID, now_ms: int) -> PutBackReply:
        self.barred[take_id] = now_ms
        if take_id not in self.aside:
            return PutBackReply("GONE")
        return PutBackReply("OK", self.aside.pop(take_id))
