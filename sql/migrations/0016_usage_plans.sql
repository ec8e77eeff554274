-- Usage plans: what a plan grants and what it asks for in each billing cycle of an assignment, and the cycles that were
-- begun and closed. A cycle goes in by the transaction that books its grant, and is closed by the one that books what was
-- short of its commitment: so each is booked once, whoever tries it again.

CREATE TABLE plan_usage (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    plan_id bigint NOT NULL UNIQUE REFERENCES plans (id),
    billing_cycle text NOT NULL CHECK (billing_cycle IN ('weekly', 'monthly', 'yearly')),
    commit_nanos bigint NOT NULL CHECK (commit_nanos BETWEEN 0 AND 9000000000000000000),
    grant_nanos bigint NOT NULL CHECK (grant_nanos BETWEEN 0 AND 9000000000000000000),
    tier text CHECK (length(tier) BETWEEN 1 AND 32),
    included_credits bigint CHECK (included_credits >= 0),
    price_per_1k text CHECK (length(price_per_1k) BETWEEN 1 AND 40),
    created_at timestamptz NOT NULL DEFAULT now()
);
COMMENT ON TABLE plan_usage IS 'Terms of usage plans. Those of a cycle are kept with it when it begins.';
COMMENT ON COLUMN plan_usage.tier IS 'Told to who asks, as are included_credits and price_per_1k; they move no money.';
SELECT app_may('SELECT, INSERT, UPDATE (commit_nanos, grant_nanos, tier, included_credits, price_per_1k)', 'plan_usage');

CREATE TABLE plan_cycles (
    assignment_id bigint NOT NULL REFERENCES plan_assignments (id),
    number integer NOT NULL CHECK (number >= 1),
    account_id bigint NOT NULL,
    currency text NOT NULL CHECK (currency ~ '^[A-Z]{3}$'),
    starts_at timestamptz NOT NULL,
    ends_at timestamptz NOT NULL CHECK (ends_at > starts_at),
    grant_nanos bigint NOT NULL CHECK (grant_nanos >= 0),
    grant_transaction_id bigint,
    commit_nanos bigint NOT NULL CHECK (commit_nanos >= 0),
    created_at timestamptz NOT NULL DEFAULT now(),
    ended_at timestamptz,
    due_nanos bigint,
    spent_nanos numeric,
    true_up_nanos bigint CHECK (true_up_nanos >= 0),
    true_up_transaction_id bigint,
    closed_at timestamptz,
    PRIMARY KEY (assignment_id, number),
    CONSTRAINT plan_cycles_grant CHECK ((grant_transaction_id IS NULL) = (grant_nanos = 0)),
    CONSTRAINT plan_cycles_true_up CHECK ((true_up_transaction_id IS NULL) = (coalesce(true_up_nanos, 0) = 0)),
    CONSTRAINT plan_cycles_closed
        CHECK (num_nonnulls(closed_at, ended_at, due_nanos, spent_nanos, true_up_nanos) IN (0, 5))
);
COMMENT ON TABLE plan_cycles IS 'Billing cycles of assignments of usage plans, from 1: what was granted, and what was short.';
COMMENT ON COLUMN plan_cycles.commit_nanos IS 'Minimum of the whole cycle; due_nanos is its part if the assignment ended before.';
COMMENT ON COLUMN plan_cycles.spent_nanos IS 'What the calls of the cycle cost when it was closed, corrections included.';
CREATE INDEX plan_cycles_open ON plan_cycles (ends_at) WHERE closed_at IS NULL AND commit_nanos > 0;
SELECT app_may(
    'SELECT, INSERT, UPDATE (ended_at, due_nanos, spent_nanos, true_up_nanos, true_up_transaction_id, closed_at)',
    'plan_cycles'
);
