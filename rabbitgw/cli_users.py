"""`rabbitgw teams …` and `rabbitgw users …`: what the admin routes of teams and users do, at the shell."""

from __future__ import annotations

import argparse

from rabbitgw.api.teams import TeamView
from rabbitgw.api.users import UserView, changed_user
from rabbitgw.api.views import shown
from rabbitgw.billing import teams, users
from rabbitgw.billing.key_push import push_keys_below
from rabbitgw.cli_output import note, print_json, print_table
from rabbitgw.cli_stores import books_only, both_stores

Options = argparse.Namespace


async def teams_create(options: Options) -> int:
    async with books_only() as pg:
        team = await teams.create_team(pg, options.account, options.name)
    if options.json:
        print_json(shown(TeamView.of(team)))
    else:
        print(f"team {team.id} in account {team.account_id}: {team.name}")
    return 0


async def teams_list(options: Options) -> int:
    async with books_only() as pg:
        found = await teams.list_teams(pg, options.account, after_id=options.after)
    if options.json:
        print_json({"teams": [shown(TeamView.of(team)) for team in found]})
        return 0
    print_table(("id", "account", "name"), [(team.id, team.account_id, team.name) for team in found])
    return 0


async def users_create(options: Options) -> int:
    async with books_only() as pg:
        user = await users.create_user(
            pg,
            options.account,
            options.name,
            email=options.email,
            external_id=options.external_id,
            team_id=options.team,
        )
    if options.json:
        print_json(shown(UserView.of(user)))
    else:
        print(f"user {user.id} in account {user.account_id}: {user.name}")
    return 0


async def users_list(options: Options) -> int:
    async with books_only() as pg:
        found = await users.list_users(pg, options.account, after_id=options.after)
    if options.json:
        print_json({"users": [shown(UserView.of(user)) for user in found]})
        return 0
    columns = ("id", "account", "name", "email", "external id", "team", "state")
    rows = [
        (
            user.id,
            user.account_id,
            user.name,
            user.email,
            user.external_id,
            user.team_id,
            "disabled" if user.disabled_at else "active",
        )
        for user in found
    ]
    print_table(columns, rows)
    return 0


async def users_disable(options: Options) -> int:
    async with both_stores() as opened:
        user = await users.disable_user(opened.pg, options.id)
        pushed = await push_keys_below(opened.pg, opened.scripts, user.entity)
    return _show_changed(options, user, pushed, "disabled: none of its keys is good")


async def users_enable(options: Options) -> int:
    async with both_stores() as opened:
        user = await users.enable_user(opened.pg, options.id)
        pushed = await push_keys_below(opened.pg, opened.scripts, user.entity)
    return _show_changed(options, user, pushed, "enabled")


def _show_changed(options: Options, user: users.User, pushed: bool, state: str) -> int:
    if options.json:
        print_json(shown(changed_user(user, in_effect=pushed)))
    else:
        print(f"user {user.id} ({user.name}) is {state}")
    if not pushed:
        note("Redis was not reached for every key: it takes effect when the keys worker has pushed them")
    return 0
