-- One refund.
-- $1 id uuid
-- Returns the columns of refunds: one row or none.
SELECT * FROM refunds WHERE id = $1
