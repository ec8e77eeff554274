-- Selling credit: orders, the money that came in for them, refunds, disputes, and what providers told us. Each fact that
-- moves money has a row of its own, written by the transaction that moves it: so it moves once, however often it is told.
-- Amounts `_minor` are whole numbers of the currency's smallest unit (cents; yen), as the provider counts them in ISO 4217.

ALTER TABLE deployment ADD COLUMN id uuid NOT NULL DEFAULT gen_random_uuid();
COMMENT ON COLUMN deployment.id IS
    'Whose orders these are: several deployments may share one account at a provider, and number orders alike.';

CREATE TABLE payment_orders (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    order_id text NOT NULL UNIQUE CHECK (order_id ~ '^[A-Za-z0-9._:-]{1,64}$'),
    account_id bigint NOT NULL REFERENCES accounts (id),
    user_id bigint,
    provider text NOT NULL CHECK (length(provider) BETWEEN 1 AND 32),
    mode text NOT NULL CHECK (mode IN ('payment_element', 'checkout_session')),
    currency text NOT NULL CHECK (currency ~ '^[A-Z]{3}$'),
    amount_minor bigint NOT NULL CHECK (amount_minor > 0),
    credit_nanos bigint NOT NULL CHECK (credit_nanos > 0),
    bonus_nanos bigint NOT NULL DEFAULT 0 CHECK (bonus_nanos >= 0),
    package_credits bigint CHECK (package_credits > 0),
    request_sha256 bytea NOT NULL CHECK (octet_length(request_sha256) = 32),
    terms jsonb NOT NULL,
    status text NOT NULL DEFAULT 'created' CHECK (status IN (
        'created', 'awaiting_payment', 'processing', 'paid', 'needs_review', 'failed', 'canceled',
        'partially_refunded', 'refunded', 'disputed')),
    provider_txn_id text CHECK (length(provider_txn_id) BETWEEN 1 AND 255),
    payment_id text CHECK (length(payment_id) BETWEEN 1 AND 255),
    failure_code text,
    review_reason text,
    reads bigint NOT NULL DEFAULT 0,
    applied_read bigint NOT NULL DEFAULT 0,
    created_at timestamptz NOT NULL DEFAULT now(),
    sent_at timestamptz,
    paid_at timestamptz,
    changed_at timestamptz NOT NULL DEFAULT now()
);
COMMENT ON TABLE payment_orders IS 'What somebody set out to buy, and where that stands.';
COMMENT ON COLUMN payment_orders.credit_nanos IS 'What the amount is worth in the wallet: the part that can be refunded.';
COMMENT ON COLUMN payment_orders.bonus_nanos IS 'What is credited on top; a refund takes its share back.';
COMMENT ON COLUMN payment_orders.terms IS 'What the provider is told beside the amount: return_url, methods, description.';
COMMENT ON COLUMN payment_orders.provider_txn_id IS 'The provider''s id of what we made there: a PaymentIntent, a Session.';
COMMENT ON COLUMN payment_orders.payment_id IS 'The provider''s id of the payment itself, where that is another.';
COMMENT ON COLUMN payment_orders.reads IS
    'Each look at the provider takes the next number before it looks. What an earlier look saw is not applied after a later.';
COMMENT ON COLUMN payment_orders.sent_at IS 'When the provider was first asked: for how long its idempotency key is good.';
CREATE UNIQUE INDEX payment_orders_txn ON payment_orders (provider_txn_id, provider) WHERE provider_txn_id IS NOT NULL;
CREATE UNIQUE INDEX payment_orders_payment ON payment_orders (payment_id, provider) WHERE payment_id IS NOT NULL;
CREATE INDEX payment_orders_account ON payment_orders (account_id, id DESC);
CREATE INDEX payment_orders_created ON payment_orders (created_at);
CREATE INDEX payment_orders_review ON payment_orders (id) WHERE status = 'needs_review';
CREATE INDEX payment_orders_open ON payment_orders (id)
    WHERE status IN ('created', 'awaiting_payment', 'processing', 'failed');
SELECT app_may('SELECT, INSERT, UPDATE (status, provider_txn_id, payment_id, failure_code, review_reason, reads,
    applied_read, sent_at, paid_at, changed_at)', 'payment_orders');

CREATE TABLE payments (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    order_id text NOT NULL REFERENCES payment_orders (order_id),
    provider text NOT NULL,
    payment_id text NOT NULL,
    currency text NOT NULL CHECK (currency ~ '^[A-Z]{3}$'),
    amount_minor bigint NOT NULL CHECK (amount_minor > 0),
    amount_nanos bigint NOT NULL CHECK (amount_nanos > 0),
    bonus_nanos bigint NOT NULL CHECK (bonus_nanos >= 0),
    booked_to text NOT NULL CHECK (booked_to IN ('wallet', 'clearing')),
    ledger_transaction_id bigint NOT NULL,
    fee_currency text,
    fee_nanos bigint,
    fee_transaction_id bigint,
    received_at timestamptz NOT NULL DEFAULT now(),
    UNIQUE (provider, payment_id)
);
COMMENT ON TABLE payments IS 'Money that came in, once per payment of the provider''s.';
COMMENT ON COLUMN payments.booked_to IS 'The account''s wallet; or clearing, when it was not what the order asked for.';
CREATE INDEX payments_order ON payments (order_id);
CREATE INDEX payments_received ON payments (received_at);
SELECT app_may('SELECT, INSERT, UPDATE (booked_to, fee_currency, fee_nanos, fee_transaction_id)', 'payments');

CREATE TABLE refunds (
    id uuid PRIMARY KEY,
    order_id text NOT NULL REFERENCES payment_orders (order_id),
    payment_id bigint NOT NULL REFERENCES payments (id),
    provider text NOT NULL,
    provider_refund_id text,
    idempotency_key text CHECK (length(idempotency_key) BETWEEN 1 AND 255),
    amount_minor bigint NOT NULL CHECK (amount_minor > 0),
    amount_nanos bigint NOT NULL CHECK (amount_nanos > 0),
    bonus_nanos bigint NOT NULL CHECK (bonus_nanos >= 0),
    taken_from text NOT NULL CHECK (taken_from IN ('wallet', 'clearing')),
    reason text CHECK (length(reason) <= 500),
    state text NOT NULL CHECK (state IN ('requested', 'taken', 'pending', 'succeeded', 'failed', 'refused')),
    ours boolean NOT NULL,
    failure text,
    attempts integer NOT NULL DEFAULT 0,
    next_try_at timestamptz NOT NULL DEFAULT now(),
    taken_transaction_id bigint,
    paid_transaction_id bigint,
    returned_transaction_id bigint,
    created_at timestamptz NOT NULL DEFAULT now(),
    changed_at timestamptz NOT NULL DEFAULT now(),
    UNIQUE (provider, provider_refund_id),
    UNIQUE (order_id, idempotency_key)
);
COMMENT ON TABLE refunds IS
    'Money on its way back: requested, taken (out of the wallet), pending (at the provider), then succeeded or failed; '
    'refused: the wallet had not enough, nothing moved.';
COMMENT ON COLUMN refunds.ours IS 'We asked for it; otherwise it was made at the provider, and we learned of it.';
CREATE INDEX refunds_order ON refunds (order_id);
CREATE INDEX refunds_to_drive ON refunds (next_try_at) WHERE state IN ('requested', 'taken');
SELECT app_may('SELECT, INSERT, UPDATE (provider_refund_id, state, failure, attempts, next_try_at, taken_transaction_id,
    paid_transaction_id, returned_transaction_id, changed_at)', 'refunds');

CREATE TABLE disputes (
    provider text NOT NULL,
    dispute_id text NOT NULL,
    order_id text NOT NULL REFERENCES payment_orders (order_id),
    payment_id bigint NOT NULL REFERENCES payments (id),
    currency text NOT NULL CHECK (currency ~ '^[A-Z]{3}$'),
    amount_nanos bigint NOT NULL CHECK (amount_nanos > 0),
    status text NOT NULL,
    reason text,
    frozen_nanos bigint NOT NULL DEFAULT 0 CHECK (frozen_nanos >= 0),
    frozen_bonus_nanos bigint NOT NULL DEFAULT 0 CHECK (frozen_bonus_nanos >= 0),
    withdrawn_nanos bigint NOT NULL DEFAULT 0 CHECK (withdrawn_nanos >= 0),
    fee_nanos bigint NOT NULL DEFAULT 0,
    created_at timestamptz NOT NULL DEFAULT now(),
    changed_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (provider, dispute_id)
);
COMMENT ON TABLE disputes IS 'Payments that a cardholder''s bank took back, or may take back.';
COMMENT ON COLUMN disputes.frozen_nanos IS 'What is out of the wallet, or out of clearing, because of it.';
COMMENT ON COLUMN disputes.withdrawn_nanos IS 'What of that the provider has taken from us.';
CREATE INDEX disputes_order ON disputes (order_id);
SELECT app_may('SELECT, INSERT, UPDATE (status, reason, frozen_nanos, frozen_bonus_nanos, withdrawn_nanos, fee_nanos,
    changed_at)', 'disputes');

CREATE TABLE provider_events (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    provider text NOT NULL,
    event_id text NOT NULL CHECK (length(event_id) BETWEEN 1 AND 255),
    type text NOT NULL CHECK (length(type) BETWEEN 1 AND 255),
    body bytea NOT NULL,
    livemode boolean NOT NULL,
    wanted boolean NOT NULL,
    provider_txn_id text,
    order_id text,
    made_at timestamptz,
    source text NOT NULL CHECK (source IN ('webhook', 'backfill')),
    deliveries integer NOT NULL DEFAULT 1,
    state text NOT NULL DEFAULT 'stored' CHECK (state IN ('stored', 'done', 'ignored', 'given_up')),
    outcome text,
    attempts integer NOT NULL DEFAULT 0,
    next_try_at timestamptz NOT NULL DEFAULT now(),
    received_at timestamptz NOT NULL DEFAULT now(),
    ended_at timestamptz,
    UNIQUE (provider, event_id)
);
COMMENT ON TABLE provider_events IS 'What providers told us, as it came, before anything is made of it.';
COMMENT ON COLUMN provider_events.body IS 'The bytes whose signature was good; of a back-fill, as the provider answered.';
COMMENT ON COLUMN provider_events.next_try_at IS 'From when on a worker may take it: also the end of the lease of the one that has it.';
CREATE INDEX provider_events_to_do ON provider_events (next_try_at) WHERE state = 'stored';
CREATE INDEX provider_events_txn ON provider_events (provider, provider_txn_id) WHERE provider_txn_id IS NOT NULL;
CREATE INDEX provider_events_given_up ON provider_events (received_at) WHERE state = 'given_up';
CREATE INDEX provider_events_received ON provider_events (received_at);
SELECT app_may('SELECT, INSERT, UPDATE (deliveries, state, outcome, attempts, next_try_at, ended_at)', 'provider_events');

CREATE TABLE provider_customers (
    account_id bigint NOT NULL REFERENCES accounts (id),
    provider text NOT NULL,
    livemode boolean NOT NULL,
    customer_id text NOT NULL CHECK (length(customer_id) BETWEEN 1 AND 255),
    created_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (account_id, provider, livemode)
);
COMMENT ON TABLE provider_customers IS 'Who an account is at a provider.';
SELECT app_may('SELECT, INSERT, UPDATE (customer_id)', 'provider_customers');

CREATE TABLE backfills (
    provider text PRIMARY KEY,
    asked_until timestamptz NOT NULL,
    ran_at timestamptz NOT NULL
);
COMMENT ON TABLE backfills IS 'Up to when each provider was asked for events that never came.';
SELECT app_may('SELECT, INSERT, UPDATE', 'backfills');

CREATE VIEW billing_history AS
SELECT
    'pay_' || p.id AS id,
    o.account_id,
    o.user_id,
    'purchase' AS type,
    o.package_credits AS credits,
    p.amount_minor AS amount,
    p.currency,
    o.status,
    p.payment_id AS stripe_payment_intent_id,
    NULL::text AS stripe_refund_id,
    o.order_id,
    p.received_at AS created
FROM payments AS p
JOIN payment_orders AS o ON o.order_id = p.order_id
UNION ALL
SELECT
    'ref_' || r.id,
    o.account_id,
    o.user_id,
    'refund',
    NULL,
    r.amount_minor,
    p.currency,
    r.state,
    p.payment_id,
    r.provider_refund_id,
    o.order_id,
    r.created_at
FROM refunds AS r
JOIN payments AS p ON p.id = r.payment_id
JOIN payment_orders AS o ON o.order_id = r.order_id;
COMMENT ON VIEW billing_history IS 'Purchases and refunds as the payment setup guide names their columns.';
SELECT app_may('SELECT', 'billing_history');
