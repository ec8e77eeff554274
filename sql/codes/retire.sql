-- End a code: nobody uses it from now on. What is reserved stays so.
-- $1 id bigint
-- Returns the columns of credit_codes: one row or none.
UPDATE credit_codes SET retired_at = coalesce(retired_at, now()) WHERE id = $1 RETURNING *
