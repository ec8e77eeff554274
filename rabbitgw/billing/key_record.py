"""A compiled key: all that a request needs to know of its key, in one immutable record.

Owns its form in memory, in a row of the view `key_records`, and as JSON in Redis. Knows no connection.
Whether a record is still true is told by its generation, which the reserve script compares.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import asyncpg
import orjson

from rabbitgw.billing.model_patterns import passes
from rabbitgw.billing.plan_book import OnPlan
from rabbitgw.billing.rate_rules import RateRule, rate_rule
from rabbitgw.billing.windows import WindowRule

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class ModelsAbove:
    """The model rule of the account, team or user that a key is in."""

    entity_type: str
    entity_id: int
    allow: tuple[str, ...] | None
    deny: tuple[str, ...] | None


@dataclass(frozen=True, slots=True)
class KeyRecord:
    """`models` are patterns (fnmatch); None allows every model, but for those that `models_denied` match. `windows` are
    its own, and those of its user, team and account, and so are `rates`.
    `scopes` None: all that a caller may; `ip_allowlist` None: from
    anywhere. `expires_at_ms`: of the key or of this secret, whichever is first."""

    key_id: int
    account_id: int
    partition: int
    currency: str
    generation: int
    name: str
    models: tuple[str, ...] | None
    windows: tuple[WindowRule, ...]
    expires_at_ms: int | None
    revoked: bool
    user_id: int | None = None  # these two are not in records that Redis kept from before there were users
    user_disabled: bool = False
    team_id: int | None = None
    plans: tuple[OnPlan, ...] = ()  # nearest first: the key's, its user's, the team's, the account's
    models_denied: tuple[str, ...] | None = None
    scopes: tuple[str, ...] | None = None
    ip_allowlist: tuple[str, ...] | None = None
    rates: tuple[RateRule, ...] = ()
    model_rules: tuple[ModelsAbove, ...] = ()  # of its user, team and account

    def expired(self, now_ms: int) -> bool:
        return self.expires_at_ms is not None and now_ms >= self.expires_at_ms

    def allows(self, model: str) -> bool:
        """Whether a model passes the patterns of the key, and all rules above it."""
        return self.refuser(model) is None

    def refuser(self, model: str) -> str | None:
        """Who of the key and what is above it does not let a model be called; None: nobody."""
        if not passes(model, self.models, self.models_denied):
            return "this key"
        for rule in self.model_rules:
            if not passes(model, rule.allow, rule.deny):
                return f"the {rule.entity_type} of this key ({rule.entity_id})"
        return None


def ms_of(moment: datetime | None) -> int | None:
    return None if moment is None else (moment - _EPOCH) // timedelta(milliseconds=1)


def record_of_row(row: asyncpg.Record) -> KeyRecord:
    """From a row of the view key_records with the end of its secret (sql/keys/find.sql).

    A secret that a rotation has left good for a while expires by itself, as a key does.
    """
    ends_ms = [ms for ms in (ms_of(row["expires_at"]), ms_of(row["secret_ends_at"])) if ms is not None]
    return KeyRecord(
        key_id=row["key_id"],
        account_id=row["account_id"],
        partition=row["partition"],
        currency=row["currency"],
        generation=row["generation"],
        name=row["name"],
        models=_texts(row["models"]),
        windows=_rules(row["windows"]),
        expires_at_ms=min(ends_ms, default=None),
        revoked=row["revoked_at"] is not None or row["secret_over"],
        user_id=row["user_id"],
        user_disabled=row["user_disabled"],
        team_id=row["team_id"],
        plans=tuple(OnPlan(**on) for on in orjson.loads(row["plans"])),
        models_denied=_texts(row["models_denied"]),
        scopes=_texts(row["scopes"]),
        ip_allowlist=_texts(row["ip_allowlist"]),
        rates=tuple(map(rate_rule, orjson.loads(row["rates"]))),
        model_rules=tuple(map(_models_above, orjson.loads(row["model_rules"]))),
    )


def record_json(record: KeyRecord) -> bytes:
    return orjson.dumps(asdict(record))


def record_of_redis(stored: bytes) -> KeyRecord:
    """From what key_record_put stored: b"<generation> <JSON>"."""
    fields = orjson.loads(stored.partition(b" ")[2])
    for name in ("models", "models_denied", "scopes", "ip_allowlist"):
        fields[name] = _texts(fields.get(name))
    fields["windows"] = tuple(WindowRule(**window) for window in fields["windows"])
    fields["plans"] = tuple(OnPlan(**on) for on in fields.get("plans", ()))
    fields["rates"] = tuple(RateRule(**rate) for rate in fields.get("rates", ()))
    fields["model_rules"] = tuple(map(_models_above, fields.get("model_rules", ())))
    return KeyRecord(**fields)


def _rules(windows: str) -> tuple[WindowRule, ...]:
    """From the column `windows` of the view key_records."""
    return tuple(_rule(window) for window in orjson.loads(windows))


def _texts(listed: Iterable[str] | None) -> tuple[str, ...] | None:
    return None if listed is None else tuple(listed)


def _models_above(rule: Mapping[str, Any]) -> ModelsAbove:
    return ModelsAbove(rule["entity_type"], rule["entity_id"], _texts(rule["allow"]), _texts(rule["deny"]))


def _rule(window: Mapping[str, Any]) -> WindowRule:
    until = window["extra_until"]
    return WindowRule(
        window_id=window["window_id"],
        kind=window["kind"],
        limit_nanos=window["limit_nanos"],
        zone=window["zone"],
        reset_time=window["reset_time"],
        extra_nanos=window["extra_nanos"] if until else 0,
        extra_until_ms=(until and ms_of(datetime.fromisoformat(until))) or 0,
    )
