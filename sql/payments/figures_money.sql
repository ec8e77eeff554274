-- What came in, and what of that has gone back, in a span of time and one currency.
-- $1 currency text   $2 from timestamptz   $3 to timestamptz
-- Returns payments, paid_minor, refunded_minor, refunds, disputes: one row.
SELECT
    (SELECT count(*) FROM payments WHERE currency = $1 AND received_at >= $2 AND received_at < $3) AS payments,
    (
        SELECT coalesce(sum(amount_minor), 0)::bigint
        FROM payments
        WHERE currency = $1 AND received_at >= $2 AND received_at < $3
    ) AS paid_minor,
    r.refunded_minor,
    r.refunds,
    (
        SELECT count(*) FROM disputes AS d JOIN payments AS p ON p.id = d.payment_id
        WHERE p.currency = $1 AND p.received_at >= $2 AND p.received_at < $3
    ) AS disputes
FROM (
    SELECT coalesce(sum(r.amount_minor), 0)::bigint AS refunded_minor, count(*) AS refunds
    FROM refunds AS r
    JOIN payments AS p ON p.id = r.payment_id
    WHERE r.state IN ('taken', 'pending', 'succeeded') AND p.currency = $1
        AND p.received_at >= $2 AND p.received_at < $3
) AS r
