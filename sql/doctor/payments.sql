-- What of payments waits for a worker, or for a person.
-- Returns waiting, oldest_s, given_up (of the last thirty days), needs_review: one row.
SELECT
    (SELECT count(*) FROM provider_events WHERE state = 'stored') AS waiting,
    (
        SELECT coalesce(extract(epoch FROM now() - min(received_at)), 0)::bigint
        FROM provider_events
        WHERE state = 'stored'
    ) AS oldest_s,
    (
        SELECT count(*) FROM provider_events
        WHERE state = 'given_up' AND received_at > now() - interval '30 days'
    ) AS given_up,
    (SELECT count(*) FROM payment_orders WHERE status = 'needs_review') AS needs_review
