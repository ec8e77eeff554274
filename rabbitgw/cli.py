"""The command line. Owns the grammar, and what a failure looks like: one line on standard error, status 1.

Commands are coroutines `(options) -> exit status`; each is imported when it runs, so that `--help` is quick.
Status 2 is a mistake in the command itself, as argparse has it.
"""

from __future__ import annotations

import argparse
import asyncio
import importlib
import os
import sys
from collections.abc import Callable, Sequence
from typing import Any

import uvloop

import rabbitgw
from rabbitgw import telemetry
from rabbitgw.errors import RabbitError

ID_MAX = 2**63 - 1
LONG_RUNNING = frozenset({"run_serve", "run_work", "run_dev"})  # they set up their own logs
KEY_FIELDS = ("models", "models-denied", "scopes", "ip-allowlist", "metadata", "tags", "expires-at")
RATES = {
    "input": "input tokens",
    "output": "output tokens",
    "cached_input": "input tokens read from the provider's cache",
    "cache_write": "input tokens written to its cache for 5 minutes",
    "cache_write_1h": "the same for an hour",
    "reasoning": "output tokens that are not shown",
    "audio_input": "audio input tokens",
    "audio_output": "audio output tokens",
    "cached_audio_input": "audio input tokens read from the cache",
    "image_input": "image input tokens",
    "cached_image_input": "image input tokens read from the cache",
    "image_output": "image output tokens",
}


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit status."""
    options = parser().parse_args(argv)
    module, _, name = options.command.partition(":")
    if name not in LONG_RUNNING:
        telemetry.configure("ERROR")
    try:
        command = getattr(importlib.import_module(f"rabbitgw.{module}"), name)
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            status = int(runner.run(command(options)))
        sys.stdout.flush()
    except RabbitError as error:
        print(f"rabbitgw: {' '.join(error.message.split())}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:  # `rabbitgw keys list | head`; nothing more can be said on standard output
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    return status


def parser() -> argparse.ArgumentParser:
    top = argparse.ArgumentParser(prog="rabbitgw", description="An LLM reseller's gateway.")
    top.add_argument("--version", action="version", version=f"rabbitgw {rabbitgw.__version__}")
    commands = top.add_subparsers(required=True, metavar="COMMAND")
    _add_running(commands)
    _add_accounts(_group(commands, "accounts", "who pays"))
    _add_teams(_group(commands, "teams", "users of an account, taken together"))
    _add_users(_group(commands, "users", "who calls, within an account"))
    _add_keys(_group(commands, "keys", "what callers authenticate with"))
    _add_wallets(_group(commands, "wallets", "prepaid money"))
    _add_prices(_group(commands, "prices", "what models cost"))
    _add_rerate(commands)
    return top


def _add_running(commands: Any) -> None:
    serve = _command(commands, "serve", "cli_run:run_serve", "answer requests until SIGTERM, then drain")
    serve.add_argument(
        "--workers",
        type=_number(1, 256),
        metavar="N",
        help="processes that share the port (RABBITGW_WORKERS)",
    )
    serve.add_argument("--inherited", help=argparse.SUPPRESS)  # how the parent of several starts one
    work = _command(commands, "work", "cli_run:run_work", "keep the books: consumer, credits, sweeper …")
    work.add_argument("names", nargs="*", metavar="NAME", help="only these loops")
    _command(commands, "dev", "cli_run:run_dev", "everything in one process, with embedded servers")
    _command(
        commands, "migrate", "cli_run:run_migrate", "bring the database to this program's schema", json=True
    )
    _command(commands, "audit", "cli_run:run_audit", "check the books; status 1 on a breach", json=True)
    _command(
        commands,
        "doctor",
        "cli_doctor:run_doctor",
        "check the deployment; status 1 if a check failed",
        json=True,
    )
    rebuild = _command(
        commands,
        "rebuild",
        "cli_run:run_rebuild",
        "build Redis anew from the ledger (gateway stopped)",
        json=True,
    )
    rebuild.add_argument(
        "--wait", type=float, default=0.0, metavar="S", help="seconds to wait for gateways to be gone (0)"
    )


def _add_accounts(commands: Any) -> None:
    create = _command(commands, "create", "cli_money:accounts_create", "make an account", json=True)
    create.add_argument("name")
    create.add_argument("--currency", default="USD", help="its billing currency, for good (USD)")
    listing = _command(commands, "list", "cli_money:accounts_list", "accounts by id", json=True)
    _add_after(listing)


def _add_teams(commands: Any) -> None:
    create = _command(commands, "create", "cli_users:teams_create", "make a team in an account", json=True)
    create.add_argument("account", type=_id, help="account id")
    create.add_argument("name")
    listing = _command(commands, "list", "cli_users:teams_list", "teams by id", json=True)
    listing.add_argument("--account", type=_id, help="only of this account")
    _add_after(listing)


def _add_users(commands: Any) -> None:
    create = _command(commands, "create", "cli_users:users_create", "make a user in an account", json=True)
    create.add_argument("account", type=_id, help="account id")
    create.add_argument("name")
    create.add_argument("--email", metavar="ADDRESS", help="unique in the account")
    create.add_argument("--external-id", metavar="ID", help="your own id of the user; unique in the account")
    create.add_argument("--team", type=_id, metavar="ID", help="the team that it is in")
    listing = _command(commands, "list", "cli_users:users_list", "users by id", json=True)
    listing.add_argument("--account", type=_id, help="only of this account")
    _add_after(listing)
    disable = _command(
        commands, "disable", "cli_users:users_disable", "let no key of a user be good, from now on", json=True
    )
    disable.add_argument("id", type=_id, help="user id")
    enable = _command(
        commands, "enable", "cli_users:users_enable", "let a disabled user's keys work again", json=True
    )
    enable.add_argument("id", type=_id, help="user id")


def _add_keys(commands: Any) -> None:
    create = _command(commands, "create", "cli_keys:keys_create", "make a key; it is shown once", json=True)
    create.add_argument("account", type=_id, help="account id")
    create.add_argument("name")
    create.add_argument("--lifetime-limit", metavar="UNITS", help="spend cap for its whole life")
    create.add_argument("--daily-limit", metavar="UNITS", help="spend cap per day in UTC+8")
    create.add_argument("--user", type=_id, metavar="ID", help="whose key it is: a user of the account")
    _add_key_fields(create)
    create.add_argument("--rpm", type=_id, metavar="N", help="requests a minute")
    create.add_argument("--tpm", type=_id, metavar="N", help="tokens a minute, input and output")
    create.add_argument("--parallel", type=_id, metavar="N", help="calls under way at a time")
    listing = _command(commands, "list", "cli_keys:keys_list", "keys by id", json=True)
    listing.add_argument("--account", type=_id, help="only of this account")
    _add_after(listing)
    show = _command(commands, "show", "cli_keys:keys_show", "all that is known of a key", json=True)
    show.add_argument("id", type=_id, help="key id")
    change = _command(
        commands, "change", "cli_keys:keys_change", "change a key, from the next request on", json=True
    )
    change.add_argument("id", type=_id, help="key id")
    change.add_argument("--name")
    _add_key_fields(change)
    change.add_argument(
        "--clear", action="append", choices=KEY_FIELDS, metavar="FIELD", help="as if never given; repeatable"
    )
    change.add_argument(
        "--if-generation", type=_id, metavar="N", help="only if nobody has changed it since it had this"
    )
    revoke = _command(commands, "revoke", "cli_keys:keys_revoke", "end a key for good, now", json=True)
    revoke.add_argument("id", type=_id, help="key id")
    rotate = _command(
        commands, "rotate", "cli_keys:keys_rotate", "new secret for a key; the old one ends now", json=True
    )
    rotate.add_argument("id", type=_id, help="key id")
    rotate.add_argument(
        "--grace",
        type=_number(0, ID_MAX),
        default=0,
        metavar="S",
        help="seconds that the old one stays good (0)",
    )


def _add_key_fields(command: argparse.ArgumentParser) -> None:
    """Those that can be changed; of a change each replaces what was."""
    for option, metavar, text in (
        ("--model", "PATTERN", "allow only these; repeatable"),
        ("--deny-model", "PATTERN", "never these; repeatable"),
        ("--scope", "NAME", "what it is for: chat, data, billing, admin …; repeatable"),
        ("--allow-ip", "CIDR", "only from these networks; repeatable"),
        ("--metadata", "NAME=VALUE", "a note of yours; repeatable"),
        ("--tag", "TEXT", "a tag of yours; repeatable"),
    ):
        command.add_argument(option, action="append", metavar=metavar, help=text)
    command.add_argument("--expires-at", metavar="TIME", help="like 2027-01-31T00:00:00Z")


def _add_wallets(commands: Any) -> None:
    show = _command(commands, "show", "cli_money:wallets_show", "balance, held, available", json=True)
    show.add_argument("account", type=_id, help="account id")
    credit = _command(commands, "credit", "cli_money:wallets_credit", "put money into a wallet", json=True)
    credit.add_argument("account", type=_id, help="account id")
    credit.add_argument("amount", help="units of the currency, like 12.50")
    credit.add_argument("--currency", help="the account's own (default)")
    credit.add_argument("--idempotency-key", metavar="KEY", help="the same key again credits nothing more")


def _add_prices(commands: Any) -> None:
    importing = _command(
        commands, "import", "cli_prices:prices_import", "take prices from LiteLLM's price map", json=True
    )
    importing.add_argument(
        "source", metavar="FILE|litellm", help="a file, or the map of the proxy or package"
    )
    importing.add_argument("--currency", default="USD", help="currency of the map (USD)")
    listing = _command(commands, "list", "cli_prices:prices_list", "present prices", json=True)
    listing.add_argument("pattern", nargs="?", help="every version of this pattern")
    listing.add_argument("--currency", default="USD")
    setting = _command(
        commands,
        "set",
        "cli_prices:prices_set",
        "set a price, in units of currency per million tokens",
        json=True,
    )
    setting.add_argument("pattern", help="a model's name, or a pattern like gpt-4o*")
    _add_rates(setting)
    setting.add_argument(
        "--per",
        metavar="PIECE=UNITS",
        action="append",
        default=[],
        help="a price by the piece: images, images:<size>:<quality>, characters, seconds, minutes, requests, ...",
    )
    setting.add_argument("--base-unit", metavar="UNITS", help="one price for input and output")
    setting.add_argument("--base", metavar="PATTERN", help="start from the price of another pattern")
    setting.add_argument("--input-multiplier", default="1", metavar="X")
    setting.add_argument("--output-multiplier", default="1", metavar="X")
    setting.add_argument(
        "--max-output-tokens", type=_number(1, ID_MAX), metavar="N", help="the model's own limit"
    )
    setting.add_argument("--currency", default="USD")


def _add_rates(command: argparse.ArgumentParser) -> None:
    for kind, text in RATES.items():
        command.add_argument(f"--{kind.replace('_', '-')}", metavar="UNITS", help=text)


def _add_rerate(commands: Any) -> None:
    rerate = _command(
        commands,
        "rerate",
        "cli_rerate:rerate",
        "correct calls that were charged by a wrong price; dry without --apply",
        json=True,
    )
    rerate.add_argument("--price-version", type=_id, required=True, metavar="V", help="the wrong one")
    rerate.add_argument("--to-version", type=_id, metavar="W", help="the right one; or its rates, as below")
    rerate.add_argument(
        "--from", dest="from_", required=True, metavar="TIME", help="like 2027-01-31T00:00:00Z"
    )
    rerate.add_argument("--to", required=True, metavar="TIME", help="before this time")
    rerate.add_argument("--account", type=_id, metavar="ID", help="only calls of this account")
    rerate.add_argument("--model", metavar="PATTERN", help="only calls of these models")
    rerate.add_argument("--apply", action="store_true", help="correct them; else nothing is written")
    rerate.add_argument("--idempotency-key", metavar="KEY", help="the same key again goes on with the run")
    rerate.add_argument(
        "--allow-overdraft", action="store_true", help="correct wallets that go below zero by it, too"
    )
    _add_rates(rerate)


def _group(commands: Any, name: str, text: str) -> Any:
    group = commands.add_parser(name, help=text, description=text)
    return group.add_subparsers(required=True, metavar="COMMAND")


def _command(
    commands: Any, name: str, target: str, text: str, *, json: bool = False
) -> argparse.ArgumentParser:
    command: argparse.ArgumentParser = commands.add_parser(name, help=text, description=text)
    command.set_defaults(command=target)
    if json:
        command.add_argument("--json", action="store_true", help="a JSON object on standard output")
    return command


def _add_after(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--after", type=_number(0, ID_MAX), default=0, metavar="ID", help="go on after this id"
    )


def _number(least: int, most: int) -> Callable[[str], int]:
    def integer(text: str) -> int:
        number = int(text) if text.isascii() and text.isdigit() else least - 1
        if not least <= number <= most:
            raise argparse.ArgumentTypeError(f"{text!r} is no number from {least} to {most}")
        return number

    return integer


_id = _number(1, ID_MAX)
