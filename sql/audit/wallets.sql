-- Wallets, with the sum of the credits after the number that Redis has.
-- $1 account_id bigint[]   $2 currency text[]   $3 seq in Redis bigint[]
-- Returns account_id, currency, balance_nanos, credit_seq, unapplied_nanos: one row per wallet that exists.
SELECT w.account_id, w.currency, w.balance_nanos, w.credit_seq,
    coalesce((
        SELECT sum(c.amount_nanos) FROM wallet_credits AS c
        WHERE c.account_id = w.account_id AND c.currency = w.currency AND c.seq > a.seq
    ), 0)::bigint AS unapplied_nanos
FROM unnest($1::bigint[], $2::text[], $3::bigint[]) AS a (account_id, currency, seq)
JOIN wallets AS w ON w.account_id = a.account_id AND w.currency = a.currency
