-- Take ids for ledger transactions; an id that is not used leaves a gap, which means nothing.
-- $1 count integer
-- Returns id: that many rows.
SELECT nextval('ledger_transaction_ids') AS id FROM generate_series(1, $1::integer)
