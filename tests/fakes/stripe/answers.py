"""How objects are answered: expanded where asked, in pages newest first, found by search.

Expanding follows ids, at most four deep as on Stripe; a property that holds no reference is refused.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from tests.fakes.stripe.account import Account
from tests.fakes.stripe.errors import StripeRefusal, no_such
from tests.fakes.stripe.objects import Obj, answered, listed
from tests.fakes.stripe.tables import words

EXPAND_DEPTH_MAX = 4
EXPANDABLE = frozenset(
    words("""balance_transaction charge customer failure_balance_transaction latest_charge payment_intent payment_method
    source review transfer invoice""")
)
CLAUSE = re.compile(
    r"\s*(?:metadata\[(?P<quote>['\"])(?P<key>[^'\"]+)(?P=quote)\]|(?P<field>[a-z_]+))"
    r"\s*:\s*(?P<mark>['\"])(?P<value>[^'\"]*)(?P=mark)\s*(?:AND(?=\s)|$)"
)
SEARCHED_FIELDS = ("status", "customer", "currency")


def expanded(account: Account, made: Obj, paths: Sequence[str]) -> Obj:
    shown = answered(made)
    for path in paths:
        parts = path.split(".")
        if len(parts) > EXPAND_DEPTH_MAX:
            message = f"You cannot expand more than {EXPAND_DEPTH_MAX} levels of a property: {path}"
            raise StripeRefusal(message, param="expand")
        _expand(account, shown, parts, path)
    return shown


def _expand(account: Account, node: Any, parts: list[str], path: str) -> None:
    if not parts or node is None:
        return
    if isinstance(node, list):
        for item in node:
            _expand(account, item, parts, path)
        return
    name, *rest = parts
    if node.get("object") == "charge" and name == "refunds":
        found = [answered(made) for made in account.all("refund") if made["charge"] == node["id"]]
        node["refunds"] = listed(f"/v1/charges/{node['id']}/refunds", found[::-1])
    elif node.get("object") == "checkout.session" and name == "line_items":
        lines = account.objects[node["id"]]["_lines"]
        node["line_items"] = listed(f"/v1/checkout/sessions/{node['id']}/line_items", list(lines))
    elif name in EXPANDABLE and name in node:
        if isinstance(node[name], str):
            node[name] = answered(account.objects[node[name]])
    elif not (rest and isinstance(node.get(name), dict | list)):
        raise StripeRefusal(f"This property cannot be expanded ({path}).", param="expand")
    _expand(account, node[name], rest, path)


def in_range(value: int, asked: int | dict[str, int] | None) -> bool:
    if not isinstance(asked, dict):
        return asked is None or value == asked
    holds = {"gt": value.__gt__, "gte": value.__ge__, "lt": value.__lt__, "lte": value.__le__}
    return all(holds[name](bound) for name, bound in asked.items())


def page(account: Account, url: str, oldest_first: Sequence[Obj], params: Obj) -> Obj:
    """One page of a list, newest first."""
    items = [made for made in reversed(oldest_first) if in_range(made["created"], params.get("created"))]
    limit = params.get("limit", 10)
    if "starting_after" in params and "ending_before" in params:
        message = "You may only specify one of these parameters: starting_after, ending_before."
        raise StripeRefusal(message, param="ending_before")
    if "starting_after" in params:
        items = items[_place(items, params["starting_after"], "starting_after") + 1 :]
    more, shown = len(items) > limit, items[:limit]
    if "ending_before" in params:
        items = items[: _place(items, params["ending_before"], "ending_before")]
        more, shown = len(items) > limit, items[-limit:]
    paths = _inside(params.get("expand", []))
    return listed(url, [expanded(account, made, paths) for made in shown], more)


def _inside(paths: Sequence[str]) -> list[str]:
    for path in paths:
        if not path.startswith("data."):
            raise StripeRefusal(f"This property cannot be expanded ({path}).", param="expand")
    return [path.removeprefix("data.") for path in paths]


def _place(items: Sequence[Obj], id: str, param: str) -> int:
    for number, made in enumerate(items):
        if made["id"] == id:
            return number
    raise no_such("object", id, param=param, in_path=False)


def search(account: Account, url: str, kind: str, params: Obj) -> Obj:
    """Stripe's search, as far as equality joined by AND; it may lag behind what was written."""
    wanted = _clauses(params["query"])
    known = set(list(account.objects)[: account.unindexed_from])
    found = [
        made
        for made in reversed(account.all(kind))
        if made["id"] in known
        and all((made["metadata"] if inside else made).get(name) == value for inside, name, value in wanted)
    ]
    start, limit = int(params.get("page", "0")), params.get("limit", 10)
    paths = _inside(params.get("expand", []))
    more = len(found) > start + limit
    return {
        "object": "search_result",
        "url": url,
        "has_more": more,
        "next_page": str(start + limit) if more else None,
        "data": [expanded(account, made, paths) for made in found[start : start + limit]],
    }


def _clauses(query: str) -> list[tuple[bool, str, str]]:
    clauses, at = [], 0
    while at < len(query):
        match = CLAUSE.match(query, at)
        if match is None or (match["field"] and match["field"] not in SEARCHED_FIELDS):
            message = f"We were unable to parse your search query: {query}"
            raise StripeRefusal(message, param="query")
        clauses.append((match["key"] is not None, match["key"] or match["field"], match["value"]))
        at = match.end()
    return clauses
