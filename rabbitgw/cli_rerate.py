"""`rabbitgw rerate`: correct calls that were charged by a wrong price; without --apply, what that would change."""

from __future__ import annotations

import argparse

from rabbitgw.api.rerate import RerateView
from rabbitgw.api.usage_list import moment_ms
from rabbitgw.api.views import shown
from rabbitgw.billing.credits import Credits
from rabbitgw.billing.price_terms import RATE_SUFFIX
from rabbitgw.billing.rates import KINDS
from rabbitgw.billing.rerate import apply, dry_run
from rabbitgw.billing.rerate_report import RerateReport
from rabbitgw.billing.rerate_request import Rerate
from rabbitgw.cli_output import money, note, print_json, print_table
from rabbitgw.cli_stores import both_stores
from rabbitgw.errors import RequestInvalid
from rabbitgw.money import nanos

Options = argparse.Namespace
ACCOUNTS_PRINTED = 20


async def rerate(options: Options) -> int:
    """Status 0, also where calls or accounts were left as they are: the output names them."""
    if options.apply and options.idempotency_key is None:
        raise RequestInvalid("idempotency_key: --apply needs one", field="idempotency_key")
    if not options.apply and options.idempotency_key is not None:
        raise RequestInvalid("idempotency_key: of no use without --apply", field="idempotency_key")
    rates = {
        f"{kind}{RATE_SUFFIX}": nanos(text, field=kind)
        for kind in KINDS
        if (text := getattr(options, kind)) is not None
    }
    asked = Rerate(
        price_version=options.price_version,
        from_ms=_moment(options.from_, "from"),
        to_ms=_moment(options.to, "to"),
        to_version=options.to_version,
        price=rates or None,
        account_id=options.account,
        model=options.model,
        allow_overdraft=options.allow_overdraft,
    )
    async with both_stores() as opened:
        if options.apply:
            credits = Credits(opened.pg, opened.link)
            report = await apply(opened.pg, credits, asked, options.idempotency_key)
        else:
            report = await dry_run(opened.pg, asked)
    if options.json:
        print_json(shown(RerateView.of(report)))
    else:
        _print(report)
    return 0


def _print(report: RerateReport) -> None:
    currency = report.currency
    to = f"version {report.to_version}" if report.to_version else "the price given"
    verb = "would be corrected" if report.dry_run else "are corrected"
    print(
        f"{report.calls} calls of {report.accounts_count} accounts {verb} from price version "
        f"{report.price_version} to {to}: {money(report.old_nanos, currency)} become "
        f"{money(report.new_nanos, currency)}, a difference of {money(report.difference_nanos, currency)}"
    )
    if report.accounts:
        rows = [
            (
                one.account_id,
                one.calls,
                money(one.old_nanos),
                money(one.new_nanos),
                money(one.difference_nanos),
            )
            for one in report.accounts[:ACCOUNTS_PRINTED]
        ]
        print_table(("account", "calls", "old", "new", "difference"), rows)
        if report.accounts_count > ACCOUNTS_PRINTED:
            note(f"… and {report.accounts_count - ACCOUNTS_PRINTED} accounts more (--json lists a thousand)")
        calls = [
            (one.id, one.account_id, money(one.old_nanos), money(one.new_nanos), money(one.difference_nanos))
            for one in report.largest
        ]
        print_table(("largest changes", "account", "old", "new", "difference"), calls)
    for refused in report.refused:
        note(
            f"{refused.calls} calls are left as they are: {refused.reason} ({', '.join(refused.examples)} …)"
        )
    if report.left_out_count:
        named = ", ".join(map(str, report.left_out))
        what = "would go" if report.dry_run else "would have gone"
        note(f"{report.left_out_count} wallets {what} below zero and are left out without --allow-overdraft: "
             f"accounts {named}")  # fmt: skip
    if report.dry_run:
        note("nothing was written: --apply --idempotency-key KEY corrects them")


def _moment(text: str, field: str) -> int:
    try:
        return moment_ms(text)
    except ValueError as error:
        raise RequestInvalid(f"{field}: {error}", field=field) from None
