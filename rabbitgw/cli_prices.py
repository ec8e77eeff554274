"""`rabbitgw prices import|list|set`: the price book, in units of currency per million tokens."""

from __future__ import annotations

import argparse

from rabbitgw.billing.price_book import load_book, price_history, set_price
from rabbitgw.billing.price_sources import import_prices
from rabbitgw.billing.price_terms import fields_of
from rabbitgw.billing.price_text import price_from_text
from rabbitgw.billing.prices import Price
from rabbitgw.billing.rates import BASE_TIER, KINDS
from rabbitgw.cli_output import money, note, print_json, print_table
from rabbitgw.cli_stores import books_only, command_settings
from rabbitgw.errors import NotFound, RequestInvalid

Options = argparse.Namespace
REFUSED_SHOWN = 10


async def prices_import(options: Options) -> int:
    settings = command_settings()
    async with books_only() as pg:
        report = await import_prices(
            pg,
            options.source,
            base_url=settings.litellm_base_url,
            api_key=settings.litellm_master_key.get_secret_value(),
            currency=options.currency,
        )
    added, unchanged = report.appended.added, report.appended.unchanged
    if options.json:
        print_json(
            {
                "source": report.source,
                "added": len(added),
                "unchanged": len(unchanged),
                "refused": dict(report.refused),
                "notes": {name: list(notes) for name, notes in report.notes.items()},
                "replaced": list(report.replaced),
            }
        )
        return 0
    print(
        f"{report.source}: {len(added)} prices added, {len(unchanged)} unchanged, {len(report.refused)} refused"
    )
    for name in report.replaced:
        note(f"replaced a price that was set by hand: {name}")
    for name, reason in list(report.refused.items())[:REFUSED_SHOWN]:
        note(f"refused {name}: {reason}")
    if len(report.refused) > REFUSED_SHOWN:
        note(f"… and {len(report.refused) - REFUSED_SHOWN} more (--json lists all)")
    return 0


async def prices_list(options: Options) -> int:
    async with books_only() as pg:
        if options.pattern is None:
            found = (await load_book(pg)).prices()
        else:
            found = await price_history(pg, options.pattern, options.currency)
    if options.json:
        print_json({"prices": [fields_of(price) for price in found]})
    else:
        columns = (
            "version",
            "pattern",
            "currency",
            "input",
            "output",
            "cached input",
            "cache write",
            "by the piece",
            "origin",
        )
        print_table(columns, [_row(price) for price in found])
    return 0


async def prices_set(options: Options) -> int:
    """`--base` starts from the price of another pattern; the multipliers apply to all of it."""
    rates = {kind: text for kind in KINDS if (text := getattr(options, kind)) is not None}
    async with books_only() as pg:
        base = None
        if options.base is not None:
            base = (await load_book(pg)).current(options.base, options.currency)
            if base is None:
                raise NotFound(f"no price for {options.base!r} in {options.currency} to start from")
        price = await set_price(
            pg,
            price_from_text(
                options.pattern,
                rates,
                currency=options.currency,
                base_unit=options.base_unit,
                base=base,
                input_multiplier=options.input_multiplier,
                output_multiplier=options.output_multiplier,
                units=_pieces(options.per),
                max_output_tokens=options.max_output_tokens,
            ),
        )
    if options.json:
        print_json(fields_of(price))
    else:
        print(f"price version {price.version}: {price.pattern} in {price.currency}")
    return 0


def _pieces(given: list[str]) -> dict[str, str]:
    """Raises: RequestInvalid."""
    pieces = {}
    for text in given:
        name, mark, amount = text.rpartition("=")
        if not mark or not name:
            raise RequestInvalid(f"--per: {text!r} is not like images=0.04", field="per")
        pieces[name] = amount
    return pieces


def _row(price: Price) -> tuple[object, ...]:
    sheet = price.table.sheets.get((BASE_TIER, 0), {})
    kinds = ("input", "output", "cached_input", "cache_write")
    origin = price.origin if price.sold else "not sold"
    pieces = ", ".join(
        f"{name} {money(each)}" for name, each in fields_of(price).get("unit_nanos", {}).items()
    )
    rates = (money(sheet.get(kind)) for kind in kinds)
    return (price.version, price.pattern, price.currency, *rates, pieces, origin)
