-- The order that a provider's object names, in this deployment.
-- $1 provider text   $2 order_id text   $3 deployment text
-- Returns order_id: one row or none.
SELECT o.order_id
FROM payment_orders AS o
JOIN deployment AS d ON d.id::text = $3
WHERE o.order_id = $2 AND o.provider = $1
