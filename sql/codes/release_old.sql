-- Free what was reserved for orders that nobody has paid for a while: such an order may still be paid, without the code.
-- $1 age interval
WITH released AS (
    UPDATE credit_code_uses
    SET state = 'released', changed_at = now()
    WHERE state = 'reserved' AND created_at < now() - $1::interval
    RETURNING code_id
), counted AS (
    SELECT code_id, count(*) AS uses FROM released GROUP BY code_id
)
UPDATE credit_codes SET uses = credit_codes.uses - counted.uses
FROM counted
WHERE credit_codes.id = counted.code_id
