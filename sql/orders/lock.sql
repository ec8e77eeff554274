-- Lock an order for the rest of the transaction.
-- $1 order_id text
-- Returns the columns of payment_orders, and partition, the account's: one row or none.
SELECT o.*, a.partition
FROM payment_orders AS o
JOIN accounts AS a ON a.id = o.account_id
WHERE o.order_id = $1
FOR NO KEY UPDATE OF o
