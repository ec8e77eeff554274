-- Lock a refund for the rest of the transaction; its order is locked before.
-- $1 id uuid
-- Returns the columns of refunds: one row or none.
SELECT * FROM refunds WHERE id = $1 FOR NO KEY UPDATE
