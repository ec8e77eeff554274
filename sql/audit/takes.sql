-- The credits of some takes, with what was to be taken.
-- $1 take_id uuid[]
-- Returns take_id, account_id, currency, seq, amount_nanos: a row per take that is booked.
SELECT take_id, account_id, currency, seq, amount_nanos FROM wallet_credits WHERE take_id = ANY($1::uuid[])
