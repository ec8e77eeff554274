"""Ten million calls for the bench of reports: made by PostgreSQL itself, summed up as bookings are.

Calls come in bursts, as those of agents and jobs do: some in a row by one key for one model. Accounts are unequal: a
hundredth of them makes a tenth of the calls.
"""

from __future__ import annotations

from collections.abc import Callable

import asyncpg

ACCOUNTS = 1_000
KEYS_PER_ACCOUNT = 10
USERS_PER_ACCOUNT = 3
MODELS = 8
CALLS_PER_BURST = 10
SLICES = 48
DAYS = 360
OVERDRAWN = 100  # accounts
LINES = 500  # of the ledger of each of them

# Nothing here reads usage but to write it: its other indexes would only make the filling slower.
UNUSED = ("usage_account", "usage_key", "usage_user", "usage_caller_request", "usage_excess")

WHO = (
    "INSERT INTO accounts (id, name, partition) OVERRIDING SYSTEM VALUE"
    f" SELECT n, 'bench', (n - 1) % 64 FROM generate_series(1, {ACCOUNTS}) AS n",
    "INSERT INTO wallets (account_id, currency) SELECT id, 'USD' FROM accounts ON CONFLICT DO NOTHING",
    "INSERT INTO teams (id, account_id, name) OVERRIDING SYSTEM VALUE SELECT id, id, 't' FROM accounts",
    "INSERT INTO users (id, account_id, name, team_id) OVERRIDING SYSTEM VALUE"
    f" SELECT (a.id - 1) * {USERS_PER_ACCOUNT} + n, a.id, 'u', a.id"
    f" FROM accounts AS a, generate_series(1, {USERS_PER_ACCOUNT}) AS n",
    "INSERT INTO api_keys (id, account_id, name, user_id, tags) OVERRIDING SYSTEM VALUE"
    f" SELECT (a.id - 1) * {KEYS_PER_ACCOUNT} + n, a.id, 'k',"
    f" (a.id - 1) * {USERS_PER_ACCOUNT} + 1 + n % {USERS_PER_ACCOUNT}, ARRAY['tag' || n % 4]"
    f" FROM accounts AS a, generate_series(1, {KEYS_PER_ACCOUNT}) AS n",
    "INSERT INTO windows (account_id, key_id, user_id, kind, limit_nanos)"
    " SELECT account_id, id, NULL, 'day', 1000000000 FROM api_keys"
    " UNION ALL SELECT account_id, NULL, id, 'lifetime', 1000000000 FROM users"
    " UNION ALL SELECT id, NULL, NULL, 'day', 1000000000 FROM accounts",
    f"WITH t AS (INSERT INTO ledger_transactions (id, kind, account_id)"
    f" SELECT n, 'usage', 1 + n % {OVERDRAWN} FROM generate_series(1, {OVERDRAWN * LINES}) AS n"
    " RETURNING id, account_id)"
    " INSERT INTO ledger_entries (transaction_id, line, ledger_account, account_id, currency, amount_nanos)"
    " SELECT id, 1, 'wallet', account_id, 'USD', -1 FROM t"
    " UNION ALL SELECT id, 2, 'revenue', NULL, 'USD', 1 FROM t",
    f"UPDATE wallets SET balance_nanos = -{LINES}, worst_nanos = -{LINES} WHERE account_id <= {OVERDRAWN}",
)
# $1 first_ms bigint   $2 quarters bigint   $3 bursts bigint
CALLS = f"""
INSERT INTO usage (
    id, account_id, currency, status, late, charge_nanos, moved_nanos, expired_nanos, partition, epoch, windows, key_id,
    model, dialect, input_tokens, cached_input_tokens, cache_write_tokens, cache_write_1h_tokens, output_tokens,
    reasoning_tokens, audio_input_tokens, audio_output_tokens, attempts, streamed, shortfall_nanos, held_input_tokens,
    user_id, team_id
)
SELECT
    (lpad(to_hex(b.ms + (random() * 899999)::bigint), 12, '0') || '7' || substr(md5(b.n::text), 1, 3) || '8'
        || substr(md5(random()::text || c), 1, 15))::uuid,
    b.account_id, 'USD', 'settled', false, 1234567, 1234567, 0, 0, 1, '', b.key_id, 'model-' || b.model, 'openai-chat',
    1200, 400, 0, 0, 350, 0, 0, 0, 1, true, 0, 0,
    (b.account_id - 1) * {USERS_PER_ACCOUNT} + 1 + (b.key_id - 1) % {KEYS_PER_ACCOUNT} % {USERS_PER_ACCOUNT},
    b.account_id
FROM (
    SELECT n, ms, account_id, model, (account_id - 1) * {KEYS_PER_ACCOUNT} + 1 + key AS key_id
    FROM (
        SELECT n, $1::bigint + n * $2::bigint / $3::bigint * 900000 AS ms,
            1 + floor({ACCOUNTS} * random() ^ 2)::bigint AS account_id,
            floor({KEYS_PER_ACCOUNT} * random())::bigint AS key, floor({MODELS} * random() ^ 2)::int AS model
        FROM generate_series(0, $3::bigint - 1) AS n
    ) AS drawn
) AS b
CROSS JOIN generate_series(1, {CALLS_PER_BURST}) AS c
"""


async def fill(db: asyncpg.Connection, calls: int, first_ms: int, say: Callable[[str], None]) -> None:
    """Accounts with keys, users, teams and windows, and so many calls over DAYS days from `first_ms` on."""
    await db.execute("SELECT books_partitions_ahead(12)")
    for index in UNUSED:
        await db.execute(f"DROP INDEX {index}")
    for statement in WHO:
        await db.execute(statement)
    quarters = DAYS * 96 // SLICES
    bursts = calls // CALLS_PER_BURST // SLICES
    for number in range(SLICES):
        await db.execute(CALLS, first_ms + number * quarters * 900_000, quarters, bursts)
        await db.fetchval("SELECT usage_fold(9223372036854775807)")
        say(f"filled {(number + 1) * bursts * CALLS_PER_BURST:,} of {calls:,} calls")
    for table in (
        "usage_deltas",
        "usage_rollups",
        "ledger_entries",
        "wallets",
        "windows",
        "api_keys",
        "users",
    ):
        await db.execute(f"VACUUM (ANALYZE) {table}")
