-- Add corrections of calls. Refused as a whole when a number of a call is taken: it was corrected meanwhile.
-- $1 rerate_id bigint   $2 old_version bigint   $3 new_version bigint   $4 currency text
-- $5 usage_id uuid[]   $6 number integer[]   $7 account_id bigint[]   $8 old_nanos bigint[]   $9 new_nanos bigint[]
-- $10 ledger_transaction_id bigint[] (null: nothing moved)
INSERT INTO corrections (
    rerate_id, old_version, new_version, currency, usage_id, number, account_id, old_nanos, new_nanos,
    ledger_transaction_id
)
SELECT $1::bigint, $2::bigint, $3::bigint, $4::text, c.usage_id, c.number, c.account_id, c.old_nanos, c.new_nanos,
    c.ledger_transaction_id
FROM unnest($5::uuid[], $6::integer[], $7::bigint[], $8::bigint[], $9::bigint[], $10::bigint[])
    AS c (usage_id, number, account_id, old_nanos, new_nanos, ledger_transaction_id)
