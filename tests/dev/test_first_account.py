"""What `rabbitgw dev` makes before it serves: account 1, user 1 and a key of that user, once."""

from __future__ import annotations

from pathlib import Path

from rabbitgw.app import open_stores
from rabbitgw.billing.accounts import list_accounts
from rabbitgw.billing.key_secret import well_formed
from rabbitgw.billing.keys import list_keys
from rabbitgw.billing.users import list_users
from rabbitgw.dev.files import write_dev_env
from rabbitgw.dev.run import first_account
from tests.flows.house import house_settings


async def test_the_first_key_belongs_to_user_1_in_account_1(dsn: str, redis_url: str, tmp_path: Path) -> None:
    settings = house_settings(dsn, redis_url, "http://127.0.0.1:1", tmp_path)
    async with open_stores(settings) as opened:
        first = await first_account(opened, settings, tmp_path)
        assert well_formed(first["OPENAI_API_KEY"])
        write_dev_env(tmp_path, first)
        assert await first_account(opened, settings, tmp_path) == first
        assert [account.id for account in await list_accounts(opened.pg)] == [1]
        assert [(user.id, user.account_id) for user in await list_users(opened.pg)] == [(1, 1)]
        assert [(key.account_id, key.user_id) for key in await list_keys(opened.pg)] == [(1, 1)]
        # its file lost: a new key, of the same user
        (tmp_path / "dev.env").unlink()
        await first_account(opened, settings, tmp_path)
        assert [key.user_id for key in await list_keys(opened.pg)] == [1, 1]
