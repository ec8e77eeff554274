"""`rabbitgw keys …`: what the admin routes of keys do, at the shell. Amounts are decimal units here."""

from __future__ import annotations

import argparse
from datetime import datetime
from typing import Any

from rabbitgw import clock
from rabbitgw.api.views import ChangedKey, KeyView, shown
from rabbitgw.billing import keys
from rabbitgw.billing.key_changes import change_key
from rabbitgw.billing.key_push import push_key
from rabbitgw.cli_output import money, note, print_json, print_table
from rabbitgw.cli_stores import books_only, both_stores
from rabbitgw.errors import RequestInvalid
from rabbitgw.money import nanos

Options = argparse.Namespace


async def keys_create(options: Options) -> int:
    new = keys.NewKey(
        account_id=options.account,
        name=options.name,
        models=options.model,
        lifetime_limit_nanos=_limit(options.lifetime_limit, "lifetime_limit"),
        daily_limit_nanos=_limit(options.daily_limit, "daily_limit"),
        expires_at=_moment(options.expires_at),
        user_id=options.user,
        models_denied=options.deny_model,
        scopes=options.scope,
        ip_allowlist=options.allow_ip,
        rpm=options.rpm,
        tpm=options.tpm,
        parallel=options.parallel,
        metadata=_metadata(options.metadata),
        tags=options.tag,
    )
    async with both_stores() as opened:
        made = await keys.create_key(opened.pg, new)
        pushed = await push_key(opened.pg, opened.scripts, made.id)
    return _show_secret(options, made, pushed)


async def keys_list(options: Options) -> int:
    async with books_only() as pg:
        found = await keys.list_keys(pg, options.account, after_id=options.after)
    if options.json:
        print_json({"keys": [shown(KeyView.of(key)) for key in found]})
        return 0
    rows = []
    for key in found:
        expires_at = shown(KeyView.of(key))["expires_at"]
        limits = (money(key.lifetime_limit_nanos), money(key.daily_limit_nanos))
        named = (key.id, key.account_id, key.name, key.prefix, _state(key))
        rows.append((*named, key.models, *limits, expires_at, key.user_id))
    columns = (
        "id",
        "account",
        "name",
        "prefix",
        "state",
        "models",
        "lifetime limit",
        "daily limit",
        "expires",
        "user",
    )
    print_table(columns, rows)
    return 0


async def keys_show(options: Options) -> int:
    async with books_only() as pg:
        key = await keys.get_key(pg, options.id)
    view = shown(KeyView.of(key))
    if options.json:
        print_json(view)
        return 0
    amounts = {name: money(getattr(key, name)) for name in ("lifetime_limit_nanos", "daily_limit_nanos")}
    notes = {"state": _state(key), "metadata": [f"{name}={value}" for name, value in key.metadata.items()]}
    fields = {**view, **amounts, **notes}
    rows = [(name.removesuffix("_nanos").replace("_", " "), value) for name, value in fields.items()]
    print_table(("field", "value"), rows)
    return 0


async def keys_change(options: Options) -> int:
    given = {
        "name": options.name,
        "models": options.model,
        "models_denied": options.deny_model,
        "scopes": options.scope,
        "ip_allowlist": options.allow_ip,
        "metadata": _metadata(options.metadata),
        "tags": options.tag,
        "expires_at": _moment(options.expires_at),
    }
    changes: dict[str, Any] = {name: value for name, value in given.items() if value is not None}
    cleared = [name.replace("-", "_") for name in options.clear or ()]
    both = changes.keys() & set(cleared)
    if both:
        raise RequestInvalid(f"--clear {min(both).replace('_', '-')}: it is given a value, too")
    changes |= dict.fromkeys(cleared)
    if not changes:
        raise RequestInvalid("nothing to change: give a field, or --clear one")
    async with both_stores() as opened:
        key = await change_key(opened.pg, options.id, changes, generation=options.if_generation)
        pushed = await push_key(opened.pg, opened.scripts, key.id)
    if options.json:
        print_json(shown(ChangedKey.of_key(key, in_effect=pushed)))
    else:
        print(f"key {key.id} ({key.prefix}…) is changed; its generation is {key.generation}")
    _note_unpushed(pushed)
    return 0


async def keys_revoke(options: Options) -> int:
    async with both_stores() as opened:
        key = await keys.revoke_key(opened.pg, options.id)
        pushed = await push_key(opened.pg, opened.scripts, key.id)
    if options.json:
        print_json(shown(ChangedKey.of_key(key, in_effect=pushed)))
    else:
        print(f"key {key.id} ({key.prefix}…) is revoked")
    _note_unpushed(pushed)
    return 0


async def keys_rotate(options: Options) -> int:
    async with both_stores() as opened:
        made = await keys.rotate_key(opened.pg, options.id, options.grace)
        pushed = await push_key(opened.pg, opened.scripts, made.id)
    return _show_secret(options, made, pushed)


def _show_secret(options: Options, made: keys.CreatedKey, pushed: bool) -> int:
    if options.json:
        print_json({"id": made.id, "key": made.secret, "prefix": made.prefix, "in_effect": pushed})
    else:
        print(f"key {made.id}: {made.secret}")
        note("This is the only time it is shown.")
    _note_unpushed(pushed)
    return 0


def _note_unpushed(pushed: bool) -> None:
    if not pushed:
        note("Redis was not reached: it takes effect when the keys worker has pushed it")


def _state(key: keys.Key) -> str:
    """Why the key is no good, or that it is."""
    if key.revoked_at is not None:
        return "revoked"
    if _is_past(key.expires_at):
        return "expired"
    return "user disabled" if key.user_disabled else "active"


def _limit(text: str | None, field: str) -> int | None:
    return None if text is None else nanos(text, field=field)


def _moment(text: str | None) -> datetime | None:
    if text is None:
        return None
    try:
        return datetime.fromisoformat(text)
    except ValueError:
        raise RequestInvalid(f"expires_at: {text!r} is no time like 2027-01-31T00:00:00Z") from None


def _is_past(moment: datetime | None) -> bool:
    return moment is not None and moment.timestamp() * 1000 <= clock.now_ms()


def _metadata(entries: list[str] | None) -> dict[str, str] | None:
    if entries is None:
        return None
    pairs = [entry.partition("=") for entry in entries]
    unfit = [name for name, equals, _ in pairs if not (name and equals)]
    if unfit:
        raise RequestInvalid(f"metadata: {unfit[0]!r} is not NAME=VALUE")
    return {name: value for name, _, value in pairs}
