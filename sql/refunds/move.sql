-- Move a refund, which is locked, to another state; what is null of the rest stays as it is.
-- $1 id uuid   $2 state text   $3 provider_refund_id text or null   $4 failure text or null
-- $5 taken_transaction_id bigint or null   $6 paid_transaction_id bigint or null   $7 returned_transaction_id bigint or null
UPDATE refunds
SET state = $2, provider_refund_id = coalesce(provider_refund_id, $3), failure = coalesce($4, failure),
    taken_transaction_id = coalesce($5, taken_transaction_id), paid_transaction_id = coalesce($6, paid_transaction_id),
    returned_transaction_id = coalesce($7, returned_transaction_id), changed_at = now()
WHERE id = $1
