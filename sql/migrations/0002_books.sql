-- The books: the ledger, usage, where the consumer stands, what windows have used, and events that could not be
-- read.
--
-- Rules kept by this file and not by the program: an entry is never changed or removed, the lines that one
-- statement adds to a transaction sum to zero, and the application reaches partitions only through their parents.
-- What Redis says it has charged must always be bookable, so usage, entries and spans carry no foreign keys:
-- an event that names an unknown key or window is charged all the same, and the audit names it.

CREATE FUNCTION books_refuse_change() RETURNS trigger
LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION '% on %: the ledger is append only', TG_OP, TG_TABLE_NAME
        USING ERRCODE = 'restrict_violation', HINT = 'Book a transaction that reverses it.';
END
$$;
COMMENT ON FUNCTION books_refuse_change() IS 'Refuses UPDATE, DELETE and TRUNCATE, whoever asks.';

CREATE FUNCTION books_refuse_imbalance() RETURNS trigger
LANGUAGE plpgsql AS $$
DECLARE
    breach record;
BEGIN
    SELECT transaction_id, currency, sum(amount_nanos) AS left_over INTO breach
    FROM new_lines
    GROUP BY transaction_id, currency
    HAVING sum(amount_nanos) <> 0
    LIMIT 1;
    IF FOUND THEN
        RAISE EXCEPTION 'ledger transaction % does not sum to zero: % nanos of % are left over',
            breach.transaction_id, breach.left_over, breach.currency
            USING ERRCODE = 'check_violation', CONSTRAINT = 'ledger_entries_sum_to_zero';
    END IF;
    RETURN NULL;
END
$$;
COMMENT ON FUNCTION books_refuse_imbalance() IS
    'All lines of a transaction go in by one statement; its transition table sums to zero per transaction.';

CREATE FUNCTION uuid7_floor(at timestamptz) RETURNS uuid
LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
RETURN (lpad(to_hex(floor(extract(epoch FROM at) * 1000)::bigint), 12, '0') || repeat('0', 20))::uuid;
COMMENT ON FUNCTION uuid7_floor(timestamptz) IS 'The lowest UUIDv7 of a moment: bounds of usage partitions.';

CREATE SEQUENCE ledger_transaction_ids;
SELECT app_may('USAGE', 'SEQUENCE ledger_transaction_ids');

CREATE TABLE ledger_transactions (
    id bigint NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    kind text NOT NULL CHECK (length(kind) BETWEEN 1 AND 64),
    account_id bigint,
    ref text CHECK (length(ref) <= 255),
    detail jsonb,
    PRIMARY KEY (id, created_at)
) PARTITION BY RANGE (created_at);
COMMENT ON TABLE ledger_transactions IS 'One movement of money: why, for whom, and the reference that caused it.';
COMMENT ON COLUMN ledger_transactions.kind IS 'usage, credit, ...';
CREATE INDEX ledger_transactions_account ON ledger_transactions (account_id, id DESC)
    WHERE account_id IS NOT NULL;
SELECT app_may('SELECT, INSERT', 'ledger_transactions');

CREATE TABLE ledger_entries (
    transaction_id bigint NOT NULL,
    line smallint NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    ledger_account text NOT NULL CHECK (length(ledger_account) BETWEEN 1 AND 64),
    account_id bigint,
    currency text NOT NULL CHECK (currency ~ '^[A-Z]{3}$'),
    amount_nanos bigint NOT NULL CHECK (amount_nanos <> 0),
    PRIMARY KEY (transaction_id, line, created_at),
    CONSTRAINT ledger_entries_wallet_owner CHECK ((ledger_account = 'wallet') = (account_id IS NOT NULL))
) PARTITION BY RANGE (created_at);
COMMENT ON TABLE ledger_entries IS 'Signed lines; those of a transaction sum to zero per currency.';
COMMENT ON COLUMN ledger_entries.ledger_account IS
    'wallet (of account_id), or a house account: revenue, credit:operator, clearing, ... which has no balance row.';
CREATE INDEX ledger_entries_wallet ON ledger_entries (account_id, currency, transaction_id DESC)
    WHERE account_id IS NOT NULL;
SELECT app_may('SELECT, INSERT', 'ledger_entries');

-- Row triggers come to every partition by themselves. Triggers of statements do not: books_guard_partition
-- makes them, so that not even a statement that names a partition goes round them.
CREATE TRIGGER refuse_change BEFORE UPDATE OR DELETE ON ledger_transactions
    FOR EACH ROW EXECUTE FUNCTION books_refuse_change();
CREATE TRIGGER refuse_truncate BEFORE TRUNCATE ON ledger_transactions
    FOR EACH STATEMENT EXECUTE FUNCTION books_refuse_change();
CREATE TRIGGER refuse_change BEFORE UPDATE OR DELETE ON ledger_entries
    FOR EACH ROW EXECUTE FUNCTION books_refuse_change();
CREATE TRIGGER refuse_truncate BEFORE TRUNCATE ON ledger_entries
    FOR EACH STATEMENT EXECUTE FUNCTION books_refuse_change();
CREATE TRIGGER refuse_imbalance AFTER INSERT ON ledger_entries
    REFERENCING NEW TABLE AS new_lines
    FOR EACH STATEMENT EXECUTE FUNCTION books_refuse_imbalance();

CREATE TYPE usage_event AS (
    id uuid,
    account_id bigint,
    currency text,
    status text,
    late boolean,
    charge_nanos bigint,
    expired_nanos bigint,
    expired_position bigint,
    ledger_transaction_id bigint,
    partition integer,
    position bigint,
    windows text,
    key_id bigint,
    caller_request_id text,
    model text,
    dialect text,
    price_version bigint,
    usage_source text,
    input_tokens bigint,
    cached_input_tokens bigint,
    cache_write_tokens bigint,
    cache_write_1h_tokens bigint,
    output_tokens bigint,
    reasoning_tokens bigint,
    audio_input_tokens bigint,
    audio_output_tokens bigint,
    attempts integer,
    admitted_ms bigint,
    first_byte_ms bigint,
    finished_ms bigint,
    upstream_model text,
    service_tier text,
    error_code text,
    tools text,
    per_model text,
    streamed boolean,
    shortfall_nanos bigint,
    held_input_tokens bigint
);
COMMENT ON TYPE usage_event IS
    'A call that ended, as a statement takes it: an array of these costs a third of an array per column.';

CREATE TABLE usage (
    id uuid PRIMARY KEY,
    account_id bigint NOT NULL,
    currency text NOT NULL,
    status text NOT NULL CHECK (status IN ('settled', 'partial', 'released', 'expired')),
    late boolean NOT NULL,
    charge_nanos bigint NOT NULL,
    moved_nanos bigint NOT NULL,
    expired_nanos bigint NOT NULL,
    expired_position bigint,
    ledger_transaction_id bigint,
    partition integer NOT NULL,
    epoch bigint NOT NULL,
    position bigint,
    windows text NOT NULL,
    key_id bigint,
    caller_request_id text,
    model text,
    dialect text,
    price_version bigint,
    usage_source text,
    input_tokens bigint NOT NULL,
    cached_input_tokens bigint NOT NULL,
    cache_write_tokens bigint NOT NULL,
    cache_write_1h_tokens bigint NOT NULL,
    output_tokens bigint NOT NULL,
    reasoning_tokens bigint NOT NULL,
    audio_input_tokens bigint NOT NULL,
    audio_output_tokens bigint NOT NULL,
    attempts integer NOT NULL,
    admitted_at timestamptz,
    first_byte_at timestamptz,
    finished_at timestamptz,
    booked_at timestamptz NOT NULL DEFAULT now(),
    upstream_model text,
    service_tier text,
    error_code text,
    tools jsonb,
    per_model jsonb,
    streamed boolean NOT NULL,
    shortfall_nanos bigint NOT NULL,
    held_input_tokens bigint NOT NULL,
    CONSTRAINT usage_expired_once CHECK (expired_position IS NOT NULL OR expired_nanos = 0)
) PARTITION BY RANGE (id);
COMMENT ON TABLE usage IS 'One row per call that ended: what it used and what it cost. The id is that of its hold.';
COMMENT ON COLUMN usage.late IS 'It was settled after its hold had expired.';
COMMENT ON COLUMN usage.charge_nanos IS 'What the call cost in all.';
COMMENT ON COLUMN usage.moved_nanos IS
    'What ledger_transaction_id moved for it: charge_nanos, less what an earlier transaction had booked at expiry.';
COMMENT ON COLUMN usage.expired_nanos IS 'The part of the charge that was made by the expiry of the hold.';
COMMENT ON COLUMN usage.position IS
    'Place of its last event in the partition''s stream: ms * 2^20 + sequence; null: it did not come by a stream.';
COMMENT ON COLUMN usage.expired_position IS 'The same of the event of its expiry.';
COMMENT ON COLUMN usage.shortfall_nanos IS
    'How much less than its bound was held, by the last-money rule: what the call may have overspent.';
COMMENT ON COLUMN usage.held_input_tokens IS 'Input tokens that the hold covered; 0 where that is not known.';
COMMENT ON COLUMN usage.windows IS 'The windows that it counted in: "window:span,window:span".';
CREATE INDEX usage_account ON usage (account_id, id DESC);
CREATE INDEX usage_caller_request ON usage (account_id, caller_request_id) WHERE caller_request_id IS NOT NULL;
-- Positions grow with the table, so ranges of blocks find "after S" as well as a tree does, for a hundredth of it.
CREATE INDEX usage_position ON usage USING brin (position) WITH (pages_per_range = 16, autosummarize = on);
CREATE INDEX usage_expired_position ON usage (expired_position) WHERE expired_position IS NOT NULL;
SELECT app_may('SELECT, INSERT, UPDATE', 'usage');

CREATE TABLE consumer_cursors (
    epoch bigint NOT NULL,
    partition integer NOT NULL CHECK (partition >= 0),
    stream_ms bigint NOT NULL DEFAULT 0 CHECK (stream_ms >= 0),
    stream_seq bigint NOT NULL DEFAULT 0 CHECK (stream_seq >= 0),
    events bigint NOT NULL DEFAULT 0,
    lease_owner text,
    lease_until timestamptz,
    advanced_at timestamptz,
    PRIMARY KEY (epoch, partition)
) WITH (fillfactor = 50);
COMMENT ON TABLE consumer_cursors IS
    'Up to which stream id a partition is booked, written with what it books; and who books it now.';
SELECT app_may('SELECT, INSERT, UPDATE', 'consumer_cursors');

CREATE TABLE window_spans (
    window_id bigint NOT NULL,
    span text NOT NULL,
    used_nanos bigint NOT NULL,
    PRIMARY KEY (window_id, span)
) WITH (fillfactor = 70);
COMMENT ON TABLE window_spans IS 'What has been charged in each span of each window; open holds are in Redis only.';
SELECT app_may('SELECT, INSERT, UPDATE', 'window_spans');

CREATE TABLE dead_events (
    epoch bigint NOT NULL,
    partition integer NOT NULL,
    stream_ms bigint NOT NULL,
    stream_seq bigint NOT NULL,
    reason text NOT NULL,
    charged boolean NOT NULL,
    fields jsonb NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (epoch, partition, stream_ms, stream_seq)
);
COMMENT ON TABLE dead_events IS
    'Events that could not be read whole, and why. Not charged: Redis may have taken money that the ledger has not.';
SELECT app_may('SELECT, INSERT', 'dead_events');

CREATE FUNCTION books_guard_partition(partition_name text, parent text) RETURNS void
LANGUAGE plpgsql AS $$
BEGIN
    IF parent IN ('ledger_transactions', 'ledger_entries') THEN
        EXECUTE format(
            'CREATE TRIGGER refuse_truncate BEFORE TRUNCATE ON %I
                FOR EACH STATEMENT EXECUTE FUNCTION books_refuse_change()', partition_name);
    END IF;
    IF parent = 'ledger_entries' THEN
        EXECUTE format(
            'CREATE TRIGGER refuse_imbalance AFTER INSERT ON %I REFERENCING NEW TABLE AS new_lines
                FOR EACH STATEMENT EXECUTE FUNCTION books_refuse_imbalance()', partition_name);
    END IF;
END
$$;
REVOKE ALL ON FUNCTION books_guard_partition(text, text) FROM PUBLIC;
COMMENT ON FUNCTION books_guard_partition(text, text) IS 'Gives a partition the statement triggers of its parent.';

-- Runs with the rights of the migrations, since the application's role makes no tables. Making a partition locks
-- the parent for an instant; rather than let all traffic queue behind a long reader it gives up and is called again.
CREATE FUNCTION books_partitions_ahead(months integer)
RETURNS TABLE (partition_name text, problem text)
LANGUAGE plpgsql SECURITY DEFINER
SET lock_timeout = '2s'
AS $$
DECLARE
    parent text;
    by_column text;
    starts timestamptz;
    ends timestamptz;
    lower_bound text;
    upper_bound text;
    taken boolean;
BEGIN
    IF months NOT BETWEEN 0 AND 120 THEN
        RAISE EXCEPTION 'months is %: ask for 0 to 120', months;
    END IF;
    PERFORM pg_advisory_xact_lock(hashtext('books_partitions_ahead'));
    FOREACH parent IN ARRAY ARRAY['ledger_transactions', 'ledger_entries', 'usage'] LOOP
        FOR n IN 0..months LOOP
            starts := (date_trunc('month', now() AT TIME ZONE 'UTC') + make_interval(months => n)) AT TIME ZONE 'UTC';
            ends := (starts AT TIME ZONE 'UTC' + interval '1 month') AT TIME ZONE 'UTC';
            partition_name := format('%s_%s', parent, to_char(starts AT TIME ZONE 'UTC', 'YYYY_MM'));
            CONTINUE WHEN to_regclass(quote_ident(partition_name)) IS NOT NULL;
            IF parent = 'usage' THEN
                by_column := 'id';
                lower_bound := uuid7_floor(starts)::text;
                upper_bound := uuid7_floor(ends)::text;
            ELSE
                by_column := 'created_at';
                lower_bound := starts::text;
                upper_bound := ends::text;
            END IF;
            EXECUTE format('SELECT EXISTS (SELECT FROM %I WHERE %I >= %L AND %I < %L)',
                parent || '_default', by_column, lower_bound, by_column, upper_bound) INTO taken;
            problem := CASE WHEN taken THEN 'its rows are already in ' || parent || '_default' END;
            IF NOT taken THEN
                EXECUTE format('CREATE TABLE %I PARTITION OF %I FOR VALUES FROM (%L) TO (%L)',
                    partition_name, parent, lower_bound, upper_bound);
                PERFORM books_guard_partition(partition_name, parent);
            END IF;
            RETURN NEXT;
        END LOOP;
    END LOOP;
END
$$;
REVOKE ALL ON FUNCTION books_partitions_ahead(integer) FROM PUBLIC;
-- Temporary tables come last, or a caller's own could pass for one of ours.
DO $$
BEGIN
    EXECUTE format('ALTER FUNCTION books_partitions_ahead(integer) SET search_path = %I, pg_temp', current_schema());
END
$$;
COMMENT ON FUNCTION books_partitions_ahead(integer) IS
    'Makes the partitions of this month and the months after it that are missing; returns those it tried to make.';
SELECT app_may('EXECUTE', 'FUNCTION books_partitions_ahead(integer)');

-- Rows of a month that nobody made a partition for are kept, not refused. The months themselves are made by the
-- program, so that what this file makes does not depend on the day on which it runs.
CREATE TABLE ledger_transactions_default PARTITION OF ledger_transactions DEFAULT;
CREATE TABLE ledger_entries_default PARTITION OF ledger_entries DEFAULT;
CREATE TABLE usage_default PARTITION OF usage DEFAULT;
SELECT books_guard_partition('ledger_transactions_default', 'ledger_transactions');
SELECT books_guard_partition('ledger_entries_default', 'ledger_entries');
