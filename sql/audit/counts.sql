-- How much there is to check.
-- Returns one row: calls, unadmitted (forwarded without an admission), late, misbooked (a late end whose parts do not
-- add up), transactions, wallets, spans, corrections, dead (events that were not charged).
SELECT u.*,
    (SELECT count(*) FROM ledger_transactions) AS transactions,
    (SELECT count(*) FROM wallets) AS wallets,
    (SELECT count(*) FROM window_spans) AS spans,
    (SELECT count(*) FROM corrections) AS corrections,
    (SELECT count(*) FROM dead_events WHERE NOT charged) AS dead
FROM (
    SELECT count(*) AS calls,
        count(*) FILTER (WHERE admitted_at IS NULL AND attempts > 0) AS unadmitted,
        count(*) FILTER (WHERE late) AS late,
        count(*) FILTER (
            WHERE moved_nanos NOT IN (charge_nanos, charge_nanos - expired_nanos)
                OR (status = 'expired' AND charge_nanos <> expired_nanos)
        ) AS misbooked
    FROM usage
) AS u
