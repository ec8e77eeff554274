-- Append transactions with all their lines. Refused as a whole when the lines of one do not sum to zero.
-- Transactions: $1 id bigint[]   $2 kind text[]   $3 account_id bigint[]   $4 ref text[]   $5 detail text[] (JSON)
-- Lines:        $6 transaction_id bigint[]   $7 line smallint[]   $8 ledger_account text[]   $9 account_id bigint[]
--               $10 currency text[]   $11 amount_nanos bigint[]
WITH heads AS (
    INSERT INTO ledger_transactions (id, kind, account_id, ref, detail)
    SELECT h.id, h.kind, h.account_id, h.ref, h.detail::jsonb
    FROM unnest($1::bigint[], $2::text[], $3::bigint[], $4::text[], $5::text[])
        AS h (id, kind, account_id, ref, detail)
)
INSERT INTO ledger_entries (transaction_id, line, ledger_account, account_id, currency, amount_nanos)
SELECT *
FROM unnest($6::bigint[], $7::smallint[], $8::text[], $9::bigint[], $10::text[], $11::bigint[])
