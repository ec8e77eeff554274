-- What a stream has cost beyond its hold. Its output is estimated while it runs, so a wallet that many streams spend
-- from at once can go below zero by the sum of their errors; the audit counts it into the bound of overspend.

ALTER TYPE usage_event ADD ATTRIBUTE excess_nanos bigint;
ALTER TABLE usage ADD COLUMN excess_nanos bigint NOT NULL DEFAULT 0;
COMMENT ON COLUMN usage.excess_nanos IS
    'How much more than its hold a stream has cost; 0 for the last-money call, whose shortfall_nanos says it.';
-- The audit sums it per account: most streams cost less than their hold, and are not in here.
CREATE INDEX usage_excess ON usage (account_id) WHERE excess_nanos > 0;
