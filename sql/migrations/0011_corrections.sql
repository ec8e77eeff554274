-- Corrections: what a call was charged by a wrong price, and what it costs by the right one. The usage row keeps what
-- was charged at the time; a correction is added to it, and may itself be corrected.

CREATE TABLE rerates (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    idempotency_key text NOT NULL UNIQUE CHECK (length(idempotency_key) BETWEEN 1 AND 255),
    request_sha256 bytea NOT NULL CHECK (octet_length(request_sha256) = 32),
    wrong_version bigint NOT NULL,
    right_version bigint NOT NULL,
    last_id uuid NOT NULL,
    left_out bigint[] NOT NULL,
    refused jsonb NOT NULL DEFAULT '{}' CHECK (jsonb_typeof(refused) = 'object'),
    created_at timestamptz NOT NULL DEFAULT now(),
    finished_at timestamptz
);
COMMENT ON TABLE rerates IS 'Runs that correct the calls of a span from one price version to another.';
COMMENT ON COLUMN rerates.last_id IS 'How far it has come: the calls of its span up to this id are done.';
COMMENT ON COLUMN rerates.left_out IS 'Accounts that it leaves as they are: their wallets would go below zero.';
COMMENT ON COLUMN rerates.refused IS 'Calls whose cost cannot be told anew, by reason: {"calls", "examples"}.';
SELECT app_may('SELECT, INSERT, UPDATE (last_id, left_out, refused, finished_at)', 'rerates');

CREATE TABLE corrections (
    usage_id uuid NOT NULL,
    number integer NOT NULL CHECK (number >= 1),
    rerate_id bigint NOT NULL REFERENCES rerates (id),
    account_id bigint NOT NULL,
    currency text NOT NULL CHECK (currency ~ '^[A-Z]{3}$'),
    old_version bigint NOT NULL,
    new_version bigint NOT NULL,
    old_nanos bigint NOT NULL,
    new_nanos bigint NOT NULL,
    ledger_transaction_id bigint,
    created_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (usage_id, number),
    CONSTRAINT corrections_move_what_differs CHECK ((ledger_transaction_id IS NULL) = (old_nanos = new_nanos))
);
COMMENT ON TABLE corrections IS
    'Charges of calls corrected from one price version to another, numbered per call. A number is there once.';
COMMENT ON COLUMN corrections.old_nanos IS 'What the call cost until then: its charge, or what the correction before said.';
COMMENT ON COLUMN corrections.ledger_transaction_id IS 'What moved the difference; null: there is none.';
CREATE INDEX corrections_rerate ON corrections (rerate_id, account_id);
CREATE INDEX corrections_account ON corrections (account_id, usage_id);
SELECT app_may('SELECT, INSERT', 'corrections');

CREATE TRIGGER refuse_change BEFORE UPDATE OR DELETE ON corrections
    FOR EACH ROW EXECUTE FUNCTION books_refuse_change();
CREATE TRIGGER refuse_truncate BEFORE TRUNCATE ON corrections
    FOR EACH STATEMENT EXECUTE FUNCTION books_refuse_change();
