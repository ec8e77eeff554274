"""`rabbitgw serve|work|dev|migrate|audit|rebuild`: what runs, and what checks the books."""

from __future__ import annotations

import argparse

from rabbitgw import app
from rabbitgw.billing.audit import audit
from rabbitgw.billing.audit_report import AuditReport
from rabbitgw.billing.migrations import migrate
from rabbitgw.billing.rebuild import rebuild
from rabbitgw.cli_output import money, print_json, print_table
from rabbitgw.cli_stores import both_stores, command_settings
from rabbitgw.config import Settings, database_url
from rabbitgw.dev.run import dev
from rabbitgw.workers import Inherited

Options = argparse.Namespace


async def run_serve(options: Options) -> int:
    settings = Settings.load()
    count = options.workers or settings.workers
    if options.inherited is None and count > 1:
        return await app.serve_by_workers(settings, count)
    await app.serve(settings, None if options.inherited is None else Inherited.read(options.inherited))
    return 0


async def run_work(options: Options) -> int:
    await app.work(Settings.load(), options.names)
    return 0


async def run_dev(_: Options) -> int:
    await dev(Settings.load())
    return 0


async def run_migrate(options: Options) -> int:
    applied = await migrate(database_url(command_settings()))
    if options.json:
        print_json({"applied": applied})
    else:
        print("\n".join(f"applied {name}" for name in applied) or "nothing to apply")
    return 0


async def run_audit(options: Options) -> int:
    """Exit status 1 on a breach."""
    async with both_stores() as opened:
        report = await audit(opened.pg, opened.link, settings=command_settings())
    if options.json:
        print_json(report.to_json())
    else:
        _print_audit(report)
    return 0 if report.ok else 1


async def run_rebuild(options: Options) -> int:
    async with both_stores() as opened:
        report = await rebuild(opened.pg, opened.link, wait_s=options.wait)
    if options.json:
        print_json(
            {
                "epoch": report.epoch,
                "holds_ended": report.holds_ended,
                "events_booked": report.events_booked,
                "keys_deleted": report.keys_deleted,
            }
        )
    else:
        print(f"epoch {report.epoch} has begun: {report.holds_ended} holds ended, ", end="")
        print(f"{report.events_booked} events booked, {report.keys_deleted} old Redis keys deleted")
    return 0


def _print_audit(report: AuditReport) -> None:
    rows = [
        (one.id, one.name, "ok" if one.ok else "BREACH", one.checked, one.detail or None)
        for one in report.invariants
    ]
    print_table(("", "invariant", "state", "checked", "detail"), rows)
    print(f"overspend: worst seen {money(report.worst_overspend_nanos)}, ", end="")
    print(f"bound {money(report.overspend_bound_nanos)} per wallet", end="")
    parts = [f"{name} {money(nanos)}" for name, nanos in (report.overspend_bounds or {}).items() if nanos]
    print(f" ({', '.join(parts)})" if parts else "")
    print("the books agree" if report.ok else "THE BOOKS DO NOT AGREE")
