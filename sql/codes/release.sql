-- The order will not be paid: what was reserved for it is free again. One that is used stays so.
-- $1 order_id text
WITH released AS (
    UPDATE credit_code_uses
    SET state = 'released', changed_at = now()
    WHERE order_id = $1 AND state = 'reserved'
    RETURNING code_id
)
UPDATE credit_codes SET uses = uses - 1 FROM released WHERE credit_codes.id = released.code_id
