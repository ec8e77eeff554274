-- Credit packages: what is sold, as data. And codes that are worth credit.

CREATE TABLE credit_packages (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    credits bigint NOT NULL CHECK (credits > 0),
    currency text NOT NULL CHECK (currency ~ '^[A-Z]{3}$'),
    price_minor bigint NOT NULL CHECK (price_minor > 0),
    nanos_per_credit bigint NOT NULL DEFAULT 100000000 CHECK (nanos_per_credit > 0),
    position integer NOT NULL DEFAULT 0,
    active boolean NOT NULL DEFAULT true,
    version bigint NOT NULL DEFAULT 1,
    created_at timestamptz NOT NULL DEFAULT now(),
    changed_at timestamptz NOT NULL DEFAULT now()
);
COMMENT ON TABLE credit_packages IS
    'Numbers of credits and what they cost. An order keeps what it was sold by; a change is for orders to come.';
COMMENT ON COLUMN credit_packages.price_minor IS 'In minor units of the currency, as ISO 4217 has them.';
COMMENT ON COLUMN credit_packages.nanos_per_credit IS
    'What one credit puts into the wallet; above the price that is a bonus.';
COMMENT ON COLUMN credit_packages.position IS 'Where it stands in the list, lowest first.';
COMMENT ON COLUMN credit_packages.version IS 'Raised by every change; its ETag.';
CREATE UNIQUE INDEX credit_packages_one_for_sale ON credit_packages (currency, credits) WHERE active;
SELECT app_may(
    'SELECT, INSERT, UPDATE (price_minor, nanos_per_credit, position, active, version, changed_at)', 'credit_packages'
);

INSERT INTO credit_packages (credits, currency, price_minor, position) VALUES
    (100, 'USD', 1000, 1),
    (500, 'USD', 4500, 2),
    (1000, 'USD', 8000, 3),
    (2000, 'USD', 15000, 4),
    (5000, 'USD', 35000, 5);

-- A code is a secret that is worth money: its hash is stored, and as much of it as people need to tell it from others.
CREATE TABLE credit_codes (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    code_sha256 bytea NOT NULL UNIQUE CHECK (length(code_sha256) = 32),
    prefix text NOT NULL CHECK (length(prefix) BETWEEN 1 AND 8),
    kind text NOT NULL CHECK (kind IN ('credit', 'bonus', 'bonus_percent')),
    currency text CHECK (currency ~ '^[A-Z]{3}$'),
    amount_nanos bigint CHECK (amount_nanos > 0),
    percent integer CHECK (percent > 0),
    uses_max integer NOT NULL CHECK (uses_max > 0),
    uses_per_account_max integer NOT NULL CHECK (uses_per_account_max > 0),
    uses integer NOT NULL DEFAULT 0,
    expires_at timestamptz,
    note text CHECK (length(note) BETWEEN 1 AND 200),
    created_at timestamptz NOT NULL DEFAULT now(),
    retired_at timestamptz,
    CONSTRAINT credit_codes_uses CHECK (uses BETWEEN 0 AND uses_max),
    CONSTRAINT credit_codes_worth CHECK (
        CASE kind
            WHEN 'bonus_percent' THEN percent IS NOT NULL AND amount_nanos IS NULL
            ELSE percent IS NULL AND amount_nanos IS NOT NULL AND currency IS NOT NULL
        END
    )
);
COMMENT ON TABLE credit_codes IS 'Codes that put money into a wallet, or add a bonus to a purchase.';
COMMENT ON COLUMN credit_codes.kind IS
    'credit: is redeemed for amount_nanos; bonus: a purchase gets amount_nanos more; bonus_percent: so much of its price.';
COMMENT ON COLUMN credit_codes.currency IS 'Null: a percentage, of a purchase in any currency.';
COMMENT ON COLUMN credit_codes.uses IS 'How many are reserved or used now: rows of credit_code_uses that are not released.';
SELECT app_may('SELECT, INSERT, UPDATE (uses, retired_at)', 'credit_codes');

CREATE TABLE credit_code_uses (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    code_id bigint NOT NULL REFERENCES credit_codes (id),
    account_id bigint NOT NULL REFERENCES accounts (id),
    order_id text CHECK (length(order_id) BETWEEN 1 AND 255),
    state text NOT NULL CHECK (state IN ('reserved', 'used', 'released')),
    currency text NOT NULL CHECK (currency ~ '^[A-Z]{3}$'),
    amount_nanos bigint NOT NULL CHECK (amount_nanos >= 0),
    ledger_transaction_id bigint,
    created_at timestamptz NOT NULL DEFAULT now(),
    changed_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT credit_code_uses_of_an_order CHECK (order_id IS NOT NULL OR state = 'used')
);
COMMENT ON TABLE credit_code_uses IS
    'Who used a code, and for which order: reserved when that is made, used when it is paid, released when it will not be.';
COMMENT ON COLUMN credit_code_uses.amount_nanos IS 'What it gives, fixed when it was reserved or redeemed.';
CREATE INDEX credit_code_uses_account ON credit_code_uses (code_id, account_id) WHERE state <> 'released';
CREATE UNIQUE INDEX credit_code_uses_one_of_an_order ON credit_code_uses (order_id)
    WHERE order_id IS NOT NULL AND state <> 'released';
SELECT app_may('SELECT, INSERT, UPDATE (state, ledger_transaction_id, changed_at)', 'credit_code_uses');

CREATE TABLE credit_code_tries (
    account_id bigint PRIMARY KEY REFERENCES accounts (id),
    since timestamptz NOT NULL,
    tries integer NOT NULL
) WITH (fillfactor = 70);
COMMENT ON TABLE credit_code_tries IS 'Codes that an account tried and that were none, in the hour from `since` on.';
SELECT app_may('SELECT, INSERT, UPDATE', 'credit_code_tries');
