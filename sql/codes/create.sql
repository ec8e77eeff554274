-- Make codes of one kind.
-- $1 code_sha256 bytea[]   $2 prefix text[]   $3 kind text   $4 currency text or null   $5 amount_nanos bigint or null
-- $6 percent integer or null   $7 uses_max integer   $8 uses_per_account_max integer
-- $9 expires_at timestamptz or null   $10 note text or null
-- Returns the columns of credit_codes: a row per code.
INSERT INTO credit_codes
    (code_sha256, prefix, kind, currency, amount_nanos, percent, uses_max, uses_per_account_max, expires_at, note)
SELECT new.code_sha256, new.prefix, $3, $4, $5, $6, $7, $8, $9, $10
FROM unnest($1::bytea[], $2::text[]) AS new (code_sha256, prefix)
RETURNING *
