-- The whole schema: the sum of sql/migrations/, written by `make schema`. Do not edit; write a migration.

DO $$
BEGIN
    IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'rabbitgw_app') THEN
        CREATE ROLE rabbitgw_app NOLOGIN;
    END IF;
EXCEPTION
    WHEN duplicate_object OR unique_violation THEN
        NULL;
    WHEN insufficient_privilege THEN
        RAISE NOTICE 'role rabbitgw_app cannot be made here; connections keep the rights of %', current_user;
END
$$;

DO $$
BEGIN
    IF EXISTS (SELECT FROM pg_roles WHERE rolname = 'rabbitgw_app')
        AND NOT pg_has_role(current_user, 'rabbitgw_app', 'MEMBER')
    THEN
        EXECUTE format('GRANT rabbitgw_app TO %I', current_user);
    END IF;
EXCEPTION
    -- internal_error: "tuple concurrently updated", another database granting at the same moment.
    WHEN unique_violation OR internal_error THEN
        NULL;
    WHEN insufficient_privilege THEN
        RAISE NOTICE 'role rabbitgw_app cannot be granted here; connections keep the rights of %', current_user;
END
$$;

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
	"position" bigint,
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
	held_input_tokens bigint,
	user_id bigint,
	excess_nanos bigint,
	team_id bigint,
	included_nanos bigint,
	overflow text,
	model_asked text,
	images bigint,
	image_kind text,
	audio_ms bigint,
	characters bigint,
	image_input_tokens bigint,
	image_output_tokens bigint,
	upstream_cost_nanos bigint
);

COMMENT ON TYPE usage_event IS 'A call that ended, as a statement takes it: an array of these costs a third of an array per column.';

CREATE FUNCTION app_may(privileges text, object text) RETURNS void
    LANGUAGE plpgsql
    AS $$
BEGIN
    IF EXISTS (SELECT FROM pg_roles WHERE rolname = 'rabbitgw_app') THEN
        EXECUTE format('GRANT %s ON %s TO rabbitgw_app', privileges, object);
    END IF;
END
$$;

COMMENT ON FUNCTION app_may(privileges text, object text) IS 'For migrations: grants rights to the application''s role where the server has it.';

CREATE FUNCTION books_guard_partition(partition_name text, parent text) RETURNS void
    LANGUAGE plpgsql
    AS $$
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

COMMENT ON FUNCTION books_guard_partition(partition_name text, parent text) IS 'Gives a partition the statement triggers of its parent.';

CREATE FUNCTION books_partitions_ahead(months integer) RETURNS TABLE(partition_name text, problem text)
    LANGUAGE plpgsql SECURITY DEFINER
    SET lock_timeout TO '2s'
    SET search_path TO 'public', 'pg_temp'
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

COMMENT ON FUNCTION books_partitions_ahead(months integer) IS 'Makes the partitions of this month and the months after it that are missing; returns those it tried to make.';

CREATE FUNCTION books_refuse_change() RETURNS trigger
    LANGUAGE plpgsql
    AS $$
BEGIN
    RAISE EXCEPTION '% on %: the ledger is append only', TG_OP, TG_TABLE_NAME
        USING ERRCODE = 'restrict_violation', HINT = 'Book a transaction that reverses it.';
END
$$;

COMMENT ON FUNCTION books_refuse_change() IS 'Refuses UPDATE, DELETE and TRUNCATE, whoever asks.';

CREATE FUNCTION books_refuse_imbalance() RETURNS trigger
    LANGUAGE plpgsql
    AS $$
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

COMMENT ON FUNCTION books_refuse_imbalance() IS 'All lines of a transaction go in by one statement; its transition table sums to zero per transaction.';

CREATE FUNCTION corrections_write_deltas() RETURNS trigger
    LANGUAGE plpgsql
    AS $$
BEGIN
    INSERT INTO usage_deltas (
        account_id, quarter, currency, model, key_id, user_id, team_id, calls, released_calls, input_tokens,
        cached_input_tokens, cache_write_tokens, cache_write_1h_tokens, output_tokens, reasoning_tokens,
        audio_input_tokens, audio_output_tokens, charge_nanos, costed_charge_nanos
    )
    SELECT u.account_id, uuid7_quarter(u.id), u.currency, coalesce(u.model, ''), coalesce(u.key_id, 0),
        coalesce(u.user_id, 0), coalesce(u.team_id, 0), 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, n.new_nanos - n.old_nanos,
        CASE WHEN u.upstream_cost_nanos IS NULL THEN 0 ELSE n.new_nanos - n.old_nanos END
    FROM new_rows AS n
    JOIN usage AS u ON u.id = n.usage_id
    WHERE n.new_nanos <> n.old_nanos;
    RETURN NULL;
END
$$;

COMMENT ON FUNCTION corrections_write_deltas() IS 'Leaves what corrections move, for usage_fold to add up.';

CREATE FUNCTION model_rules_above(of_account bigint, of_team bigint, of_user bigint) RETURNS jsonb
    LANGUAGE plpgsql STABLE
    AS $$
BEGIN
    RETURN (SELECT coalesce(
        jsonb_agg(
            jsonb_build_object(
                'entity_type', CASE
                    WHEN user_id IS NOT NULL THEN 'user' WHEN team_id IS NOT NULL THEN 'team' ELSE 'account'
                END,
                'entity_id', coalesce(user_id, team_id, account_id), 'allow', allow, 'deny', deny
            ) ORDER BY user_id, team_id
        ),
        '[]'
    )
    FROM model_rules
    WHERE account_id = of_account AND removed_at IS NULL AND CASE
        WHEN user_id IS NOT NULL THEN user_id = of_user
        WHEN team_id IS NOT NULL THEN team_id = of_team
        ELSE true
    END);
END
$$;

COMMENT ON FUNCTION model_rules_above(of_account bigint, of_team bigint, of_user bigint) IS 'The rules that bind a key of this account, team and user, beside its own, nearest first: at most three.';

CREATE FUNCTION plans_next_revision() RETURNS trigger
    LANGUAGE plpgsql
    AS $$
BEGIN
    PERFORM pg_advisory_xact_lock(hashtext('rabbitgw.plans'));
    NEW.revision := nextval('plan_revisions');
    RETURN NEW;
END
$$;

CREATE FUNCTION prices_append_only() RETURNS trigger
    LANGUAGE plpgsql
    AS $$
BEGIN
    RAISE EXCEPTION 'prices are append-only: % refused; insert a new version', TG_OP
        USING ERRCODE = 'restrict_violation';
END
$$;

CREATE FUNCTION prices_never_back_dated() RETURNS trigger
    LANGUAGE plpgsql
    AS $$
BEGIN
    NEW.effective_from := greatest(NEW.effective_from, clock_timestamp());
    RETURN NEW;
END
$$;

CREATE FUNCTION prices_take_turns() RETURNS trigger
    LANGUAGE plpgsql
    AS $$
BEGIN
    PERFORM pg_advisory_xact_lock(hashtext('rabbitgw.prices'));
    RETURN NULL;
END
$$;

CREATE FUNCTION usage_fold(rows_max bigint) RETURNS bigint
    LANGUAGE plpgsql
    AS $$
DECLARE
    folded bigint;
BEGIN
    WITH gone AS (
        DELETE FROM usage_deltas
        WHERE ctid = ANY (ARRAY(SELECT ctid FROM usage_deltas LIMIT rows_max))
        RETURNING *
    ),
    quarters AS (
        SELECT account_id, quarter, currency, model, key_id, user_id, team_id,
            sum(calls) AS calls, sum(released_calls) AS released_calls, sum(input_tokens) AS input_tokens,
            sum(cached_input_tokens) AS cached_input_tokens, sum(cache_write_tokens) AS cache_write_tokens,
            sum(cache_write_1h_tokens) AS cache_write_1h_tokens, sum(output_tokens) AS output_tokens,
            sum(reasoning_tokens) AS reasoning_tokens, sum(audio_input_tokens) AS audio_input_tokens,
            sum(audio_output_tokens) AS audio_output_tokens, sum(charge_nanos) AS charge_nanos,
            sum(images) AS images, sum(audio_ms) AS audio_ms, sum(characters) AS characters,
            sum(costed_calls) AS costed_calls, sum(upstream_cost_nanos) AS upstream_cost_nanos,
            sum(costed_charge_nanos) AS costed_charge_nanos
        FROM gone
        GROUP BY account_id, quarter, currency, model, key_id, user_id, team_id
    ),
    added AS (
        INSERT INTO usage_rollups AS r (
            account_id, scope, grain, quarter, currency, model, key_id, user_id, team_id, calls, released_calls,
            input_tokens, cached_input_tokens, cache_write_tokens, cache_write_1h_tokens, output_tokens,
            reasoning_tokens, audio_input_tokens, audio_output_tokens, charge_nanos, images, audio_ms, characters,
            costed_calls, upstream_cost_nanos, costed_charge_nanos
        )
        SELECT CASE WHEN s.scope > 0 THEN q.account_id ELSE 0 END, s.scope, g.grain, q.quarter - q.quarter % g.grain,
            q.currency, q.model,
            CASE WHEN s.scope = 2 THEN q.key_id ELSE 0 END,
            CASE WHEN s.scope = 2 THEN q.user_id ELSE 0 END,
            CASE WHEN s.scope = 2 THEN q.team_id ELSE 0 END,
            sum(q.calls), sum(q.released_calls), sum(q.input_tokens), sum(q.cached_input_tokens),
            sum(q.cache_write_tokens), sum(q.cache_write_1h_tokens), sum(q.output_tokens), sum(q.reasoning_tokens),
            sum(q.audio_input_tokens), sum(q.audio_output_tokens), sum(q.charge_nanos), sum(q.images),
            sum(q.audio_ms), sum(q.characters), sum(q.costed_calls), sum(q.upstream_cost_nanos),
            sum(q.costed_charge_nanos)
        FROM quarters AS q
        CROSS JOIN unnest('{0,1,2}'::smallint[]) AS s (scope)
        CROSS JOIN unnest('{1,32}'::smallint[]) AS g (grain)
        GROUP BY 1, 2, 3, 4, 5, 6, 7, 8, 9
        ON CONFLICT (account_id, scope, grain, quarter, currency, model, key_id, user_id, team_id) DO UPDATE SET
            calls = r.calls + EXCLUDED.calls,
            released_calls = r.released_calls + EXCLUDED.released_calls,
            input_tokens = r.input_tokens + EXCLUDED.input_tokens,
            cached_input_tokens = r.cached_input_tokens + EXCLUDED.cached_input_tokens,
            cache_write_tokens = r.cache_write_tokens + EXCLUDED.cache_write_tokens,
            cache_write_1h_tokens = r.cache_write_1h_tokens + EXCLUDED.cache_write_1h_tokens,
            output_tokens = r.output_tokens + EXCLUDED.output_tokens,
            reasoning_tokens = r.reasoning_tokens + EXCLUDED.reasoning_tokens,
            audio_input_tokens = r.audio_input_tokens + EXCLUDED.audio_input_tokens,
            audio_output_tokens = r.audio_output_tokens + EXCLUDED.audio_output_tokens,
            charge_nanos = r.charge_nanos + EXCLUDED.charge_nanos,
            images = r.images + EXCLUDED.images,
            audio_ms = r.audio_ms + EXCLUDED.audio_ms,
            characters = r.characters + EXCLUDED.characters,
            costed_calls = r.costed_calls + EXCLUDED.costed_calls,
            upstream_cost_nanos = r.upstream_cost_nanos + EXCLUDED.upstream_cost_nanos,
            costed_charge_nanos = r.costed_charge_nanos + EXCLUDED.costed_charge_nanos
    )
    SELECT count(*) INTO folded FROM gone;
    RETURN folded;
END
$$;

COMMENT ON FUNCTION usage_fold(rows_max bigint) IS 'Adds up to so many usage_deltas into usage_rollups and deletes them; returns how many. One caller at a time.';

CREATE FUNCTION usage_write_deltas() RETURNS trigger
    LANGUAGE plpgsql
    AS $$
BEGIN
    -- A call that was given back is counted as one, and nothing that it used.
    IF TG_OP <> 'DELETE' THEN
        INSERT INTO usage_deltas (
            account_id, quarter, currency, model, key_id, user_id, team_id, calls, released_calls, input_tokens,
            cached_input_tokens, cache_write_tokens, cache_write_1h_tokens, output_tokens, reasoning_tokens,
            audio_input_tokens, audio_output_tokens, charge_nanos, images, audio_ms, characters, costed_calls,
            upstream_cost_nanos, costed_charge_nanos
        )
        SELECT account_id, uuid7_quarter(id), currency, coalesce(model, ''), coalesce(key_id, 0), coalesce(user_id, 0),
            coalesce(team_id, 0), c.counted, (1 - c.counted), input_tokens * c.counted,
            cached_input_tokens * c.counted, cache_write_tokens * c.counted,
            cache_write_1h_tokens * c.counted, output_tokens * c.counted, reasoning_tokens * c.counted,
            audio_input_tokens * c.counted, audio_output_tokens * c.counted, charge_nanos,
            images * c.counted, coalesce(audio_ms, 0) * c.counted, characters * c.counted, c.costed,
            coalesce(upstream_cost_nanos, 0) * c.costed, charge_nanos * c.costed
        FROM new_rows
        CROSS JOIN LATERAL (
            SELECT (status <> 'released')::integer AS counted,
                (status <> 'released' AND upstream_cost_nanos IS NOT NULL)::integer AS costed
        ) AS c;
    END IF;
    IF TG_OP <> 'INSERT' THEN
        INSERT INTO usage_deltas (
            account_id, quarter, currency, model, key_id, user_id, team_id, calls, released_calls, input_tokens,
            cached_input_tokens, cache_write_tokens, cache_write_1h_tokens, output_tokens, reasoning_tokens,
            audio_input_tokens, audio_output_tokens, charge_nanos, images, audio_ms, characters, costed_calls,
            upstream_cost_nanos, costed_charge_nanos
        )
        SELECT account_id, uuid7_quarter(id), currency, coalesce(model, ''), coalesce(key_id, 0), coalesce(user_id, 0),
            coalesce(team_id, 0), -c.counted, -(1 - c.counted), -input_tokens * c.counted,
            -cached_input_tokens * c.counted, -cache_write_tokens * c.counted,
            -cache_write_1h_tokens * c.counted, -output_tokens * c.counted, -reasoning_tokens * c.counted,
            -audio_input_tokens * c.counted, -audio_output_tokens * c.counted, -charge_nanos,
            -images * c.counted, -coalesce(audio_ms, 0) * c.counted, -characters * c.counted, -c.costed,
            -coalesce(upstream_cost_nanos, 0) * c.costed, -charge_nanos * c.costed
        FROM old_rows
        CROSS JOIN LATERAL (
            SELECT (status <> 'released')::integer AS counted,
                (status <> 'released' AND upstream_cost_nanos IS NOT NULL)::integer AS costed
        ) AS c;
    END IF;
    RETURN NULL;
END
$$;

COMMENT ON FUNCTION usage_write_deltas() IS 'Leaves what a statement changed in usage, for usage_fold to add up.';

CREATE FUNCTION uuid7_floor(at timestamp with time zone) RETURNS uuid
    LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
    RETURN ((lpad(to_hex((floor((EXTRACT(epoch FROM at) * (1000)::numeric)))::bigint), 12, '0'::text) || repeat('0'::text, 20)))::uuid;

COMMENT ON FUNCTION uuid7_floor(at timestamp with time zone) IS 'The lowest UUIDv7 of a moment: bounds of usage partitions.';

CREATE FUNCTION uuid7_quarter(id uuid) RETURNS integer
    LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
    RETURN ((((('x'::text || encode(SUBSTRING(uuid_send(id) FROM 1 FOR 6), 'hex'::text)))::bit(48))::bigint / 900000))::integer;

COMMENT ON FUNCTION uuid7_quarter(id uuid) IS 'The quarter hour of a UUIDv7: how many have gone by since 1970, in UTC.';

CREATE FUNCTION wallets_begin_below_zero() RETURNS trigger
    LANGUAGE plpgsql
    AS $$
BEGIN
    UPDATE wallets SET below_since = now() WHERE account_id = NEW.account_id AND currency = NEW.currency;
    RETURN NULL;
END
$$;

COMMENT ON FUNCTION wallets_begin_below_zero() IS 'Notes it of a wallet that is made below zero.';

CREATE FUNCTION wallets_pass_zero() RETURNS trigger
    LANGUAGE plpgsql
    AS $$
BEGIN
    NEW.below_since := CASE WHEN NEW.balance_nanos < 0 THEN now() END;
    RETURN NEW;
END
$$;

COMMENT ON FUNCTION wallets_pass_zero() IS 'Notes when a wallet goes below zero, and forgets it when it is back.';

CREATE TABLE accounts (
    id bigint NOT NULL,
    name text NOT NULL,
    currency text DEFAULT 'USD'::text NOT NULL,
    partition integer NOT NULL,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    CONSTRAINT accounts_currency_check CHECK ((currency ~ '^[A-Z]{3}$'::text)),
    CONSTRAINT accounts_name_check CHECK (((length(name) >= 1) AND (length(name) <= 200))),
    CONSTRAINT accounts_partition_check CHECK ((partition >= 0))
);

COMMENT ON TABLE accounts IS 'Who pays. Its partition, and so the place of its keys in Redis, never changes.';

ALTER TABLE accounts ALTER COLUMN id ADD GENERATED BY DEFAULT AS IDENTITY (
    SEQUENCE NAME accounts_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);

CREATE TABLE api_keys (
    id bigint NOT NULL,
    account_id bigint NOT NULL,
    name text NOT NULL,
    models text[],
    expires_at timestamp with time zone,
    revoked_at timestamp with time zone,
    generation bigint DEFAULT 1 NOT NULL,
    redis_generation bigint DEFAULT 0 NOT NULL,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    user_id bigint,
    models_denied text[],
    scopes text[],
    ip_allowlist text[],
    metadata jsonb DEFAULT '{}'::jsonb NOT NULL,
    tags text[] DEFAULT '{}'::text[] NOT NULL,
    CONSTRAINT api_keys_check CHECK ((redis_generation <= generation)),
    CONSTRAINT api_keys_metadata_check CHECK ((jsonb_typeof(metadata) = 'object'::text)),
    CONSTRAINT api_keys_name_check CHECK (((length(name) >= 1) AND (length(name) <= 200)))
);

COMMENT ON TABLE api_keys IS 'A key: what its holder may do. Every change raises generation, so that a stale copy is known as stale.';

COMMENT ON COLUMN api_keys.models IS 'Patterns (fnmatch) of models that the key may call; null: all.';

COMMENT ON COLUMN api_keys.redis_generation IS 'The newest generation that Redis has acknowledged.';

COMMENT ON COLUMN api_keys.user_id IS 'Whose key it is; null: nobody''s in particular.';

COMMENT ON COLUMN api_keys.models_denied IS 'Patterns (fnmatch) of models that the key may not call, whatever `models` says.';

COMMENT ON COLUMN api_keys.scopes IS 'What the key may do; null: all that a caller may.';

COMMENT ON COLUMN api_keys.ip_allowlist IS 'Networks (CIDR) that the key may be used from; null: any.';

ALTER TABLE api_keys ALTER COLUMN id ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME api_keys_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);

CREATE TABLE backfills (
    provider text NOT NULL,
    asked_until timestamp with time zone NOT NULL,
    ran_at timestamp with time zone NOT NULL
);

COMMENT ON TABLE backfills IS 'Up to when each provider was asked for events that never came.';

CREATE TABLE payment_orders (
    id bigint NOT NULL,
    order_id text NOT NULL,
    account_id bigint NOT NULL,
    user_id bigint,
    provider text NOT NULL,
    mode text NOT NULL,
    currency text NOT NULL,
    amount_minor bigint NOT NULL,
    credit_nanos bigint NOT NULL,
    bonus_nanos bigint DEFAULT 0 NOT NULL,
    package_credits bigint,
    request_sha256 bytea NOT NULL,
    terms jsonb NOT NULL,
    status text DEFAULT 'created'::text NOT NULL,
    provider_txn_id text,
    payment_id text,
    failure_code text,
    review_reason text,
    reads bigint DEFAULT 0 NOT NULL,
    applied_read bigint DEFAULT 0 NOT NULL,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    sent_at timestamp with time zone,
    paid_at timestamp with time zone,
    changed_at timestamp with time zone DEFAULT now() NOT NULL,
    CONSTRAINT payment_orders_amount_minor_check CHECK ((amount_minor > 0)),
    CONSTRAINT payment_orders_bonus_nanos_check CHECK ((bonus_nanos >= 0)),
    CONSTRAINT payment_orders_credit_nanos_check CHECK ((credit_nanos > 0)),
    CONSTRAINT payment_orders_currency_check CHECK ((currency ~ '^[A-Z]{3}$'::text)),
    CONSTRAINT payment_orders_mode_check CHECK ((mode = ANY (ARRAY['payment_element'::text, 'checkout_session'::text]))),
    CONSTRAINT payment_orders_order_id_check CHECK ((order_id ~ '^[A-Za-z0-9._:-]{1,64}$'::text)),
    CONSTRAINT payment_orders_package_credits_check CHECK ((package_credits > 0)),
    CONSTRAINT payment_orders_payment_id_check CHECK (((length(payment_id) >= 1) AND (length(payment_id) <= 255))),
    CONSTRAINT payment_orders_provider_check CHECK (((length(provider) >= 1) AND (length(provider) <= 32))),
    CONSTRAINT payment_orders_provider_txn_id_check CHECK (((length(provider_txn_id) >= 1) AND (length(provider_txn_id) <= 255))),
    CONSTRAINT payment_orders_request_sha256_check CHECK ((octet_length(request_sha256) = 32)),
    CONSTRAINT payment_orders_status_check CHECK ((status = ANY (ARRAY['created'::text, 'awaiting_payment'::text, 'processing'::text, 'paid'::text, 'needs_review'::text, 'failed'::text, 'canceled'::text, 'partially_refunded'::text, 'refunded'::text, 'disputed'::text])))
);

COMMENT ON TABLE payment_orders IS 'What somebody set out to buy, and where that stands.';

COMMENT ON COLUMN payment_orders.credit_nanos IS 'What the amount is worth in the wallet: the part that can be refunded.';

COMMENT ON COLUMN payment_orders.bonus_nanos IS 'What is credited on top; a refund takes its share back.';

COMMENT ON COLUMN payment_orders.terms IS 'What the provider is told beside the amount: return_url, methods, description.';

COMMENT ON COLUMN payment_orders.provider_txn_id IS 'The provider''s id of what we made there: a PaymentIntent, a Session.';

COMMENT ON COLUMN payment_orders.payment_id IS 'The provider''s id of the payment itself, where that is another.';

COMMENT ON COLUMN payment_orders.reads IS 'Each look at the provider takes the next number before it looks. What an earlier look saw is not applied after a later.';

COMMENT ON COLUMN payment_orders.sent_at IS 'When the provider was first asked: for how long its idempotency key is good.';

CREATE TABLE payments (
    id bigint NOT NULL,
    order_id text NOT NULL,
    provider text NOT NULL,
    payment_id text NOT NULL,
    currency text NOT NULL,
    amount_minor bigint NOT NULL,
    amount_nanos bigint NOT NULL,
    bonus_nanos bigint NOT NULL,
    booked_to text NOT NULL,
    ledger_transaction_id bigint NOT NULL,
    fee_currency text,
    fee_nanos bigint,
    fee_transaction_id bigint,
    received_at timestamp with time zone DEFAULT now() NOT NULL,
    CONSTRAINT payments_amount_minor_check CHECK ((amount_minor > 0)),
    CONSTRAINT payments_amount_nanos_check CHECK ((amount_nanos > 0)),
    CONSTRAINT payments_bonus_nanos_check CHECK ((bonus_nanos >= 0)),
    CONSTRAINT payments_booked_to_check CHECK ((booked_to = ANY (ARRAY['wallet'::text, 'clearing'::text]))),
    CONSTRAINT payments_currency_check CHECK ((currency ~ '^[A-Z]{3}$'::text))
);

COMMENT ON TABLE payments IS 'Money that came in, once per payment of the provider''s.';

COMMENT ON COLUMN payments.booked_to IS 'The account''s wallet; or clearing, when it was not what the order asked for.';

CREATE TABLE refunds (
    id uuid NOT NULL,
    order_id text NOT NULL,
    payment_id bigint NOT NULL,
    provider text NOT NULL,
    provider_refund_id text,
    idempotency_key text,
    amount_minor bigint NOT NULL,
    amount_nanos bigint NOT NULL,
    bonus_nanos bigint NOT NULL,
    taken_from text NOT NULL,
    reason text,
    state text NOT NULL,
    ours boolean NOT NULL,
    failure text,
    attempts integer DEFAULT 0 NOT NULL,
    next_try_at timestamp with time zone DEFAULT now() NOT NULL,
    taken_transaction_id bigint,
    paid_transaction_id bigint,
    returned_transaction_id bigint,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    changed_at timestamp with time zone DEFAULT now() NOT NULL,
    CONSTRAINT refunds_amount_minor_check CHECK ((amount_minor > 0)),
    CONSTRAINT refunds_amount_nanos_check CHECK ((amount_nanos > 0)),
    CONSTRAINT refunds_bonus_nanos_check CHECK ((bonus_nanos >= 0)),
    CONSTRAINT refunds_idempotency_key_check CHECK (((length(idempotency_key) >= 1) AND (length(idempotency_key) <= 255))),
    CONSTRAINT refunds_reason_check CHECK ((length(reason) <= 500)),
    CONSTRAINT refunds_state_check CHECK ((state = ANY (ARRAY['requested'::text, 'taken'::text, 'pending'::text, 'succeeded'::text, 'failed'::text, 'refused'::text]))),
    CONSTRAINT refunds_taken_from_check CHECK ((taken_from = ANY (ARRAY['wallet'::text, 'clearing'::text])))
);

COMMENT ON TABLE refunds IS 'Money on its way back: requested, taken (out of the wallet), pending (at the provider), then succeeded or failed; refused: the wallet had not enough, nothing moved.';

COMMENT ON COLUMN refunds.ours IS 'We asked for it; otherwise it was made at the provider, and we learned of it.';

CREATE VIEW billing_history AS
 SELECT ('pay_'::text || p.id) AS id,
    o.account_id,
    o.user_id,
    'purchase'::text AS type,
    o.package_credits AS credits,
    p.amount_minor AS amount,
    p.currency,
    o.status,
    p.payment_id AS stripe_payment_intent_id,
    NULL::text AS stripe_refund_id,
    o.order_id,
    p.received_at AS created
   FROM (payments p
     JOIN payment_orders o ON ((o.order_id = p.order_id)))
UNION ALL
 SELECT ('ref_'::text || r.id) AS id,
    o.account_id,
    o.user_id,
    'refund'::text AS type,
    NULL::bigint AS credits,
    r.amount_minor AS amount,
    p.currency,
    r.state AS status,
    p.payment_id AS stripe_payment_intent_id,
    r.provider_refund_id AS stripe_refund_id,
    o.order_id,
    r.created_at AS created
   FROM ((refunds r
     JOIN payments p ON ((p.id = r.payment_id)))
     JOIN payment_orders o ON ((o.order_id = r.order_id)));

COMMENT ON VIEW billing_history IS 'Purchases and refunds as the payment setup guide names their columns.';

CREATE TABLE consumer_cursors (
    epoch bigint NOT NULL,
    partition integer NOT NULL,
    stream_ms bigint DEFAULT 0 NOT NULL,
    stream_seq bigint DEFAULT 0 NOT NULL,
    events bigint DEFAULT 0 NOT NULL,
    lease_owner text,
    lease_until timestamp with time zone,
    advanced_at timestamp with time zone,
    CONSTRAINT consumer_cursors_partition_check CHECK ((partition >= 0)),
    CONSTRAINT consumer_cursors_stream_ms_check CHECK ((stream_ms >= 0)),
    CONSTRAINT consumer_cursors_stream_seq_check CHECK ((stream_seq >= 0))
)
WITH (fillfactor='50');

COMMENT ON TABLE consumer_cursors IS 'Up to which stream id a partition is booked, written with what it books; and who books it now.';

CREATE TABLE corrections (
    usage_id uuid NOT NULL,
    number integer NOT NULL,
    rerate_id bigint NOT NULL,
    account_id bigint NOT NULL,
    currency text NOT NULL,
    old_version bigint NOT NULL,
    new_version bigint NOT NULL,
    old_nanos bigint NOT NULL,
    new_nanos bigint NOT NULL,
    ledger_transaction_id bigint,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    CONSTRAINT corrections_currency_check CHECK ((currency ~ '^[A-Z]{3}$'::text)),
    CONSTRAINT corrections_move_what_differs CHECK (((ledger_transaction_id IS NULL) = (old_nanos = new_nanos))),
    CONSTRAINT corrections_number_check CHECK ((number >= 1))
);

COMMENT ON TABLE corrections IS 'Charges of calls corrected from one price version to another, numbered per call. A number is there once.';

COMMENT ON COLUMN corrections.old_nanos IS 'What the call cost until then: its charge, or what the correction before said.';

COMMENT ON COLUMN corrections.ledger_transaction_id IS 'What moved the difference; null: there is none.';

CREATE TABLE credit_code_tries (
    account_id bigint NOT NULL,
    since timestamp with time zone NOT NULL,
    tries integer NOT NULL
)
WITH (fillfactor='70');

COMMENT ON TABLE credit_code_tries IS 'Codes that an account tried and that were none, in the hour from `since` on.';

CREATE TABLE credit_code_uses (
    id bigint NOT NULL,
    code_id bigint NOT NULL,
    account_id bigint NOT NULL,
    order_id text,
    state text NOT NULL,
    currency text NOT NULL,
    amount_nanos bigint NOT NULL,
    ledger_transaction_id bigint,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    changed_at timestamp with time zone DEFAULT now() NOT NULL,
    CONSTRAINT credit_code_uses_amount_nanos_check CHECK ((amount_nanos >= 0)),
    CONSTRAINT credit_code_uses_currency_check CHECK ((currency ~ '^[A-Z]{3}$'::text)),
    CONSTRAINT credit_code_uses_of_an_order CHECK (((order_id IS NOT NULL) OR (state = 'used'::text))),
    CONSTRAINT credit_code_uses_order_id_check CHECK (((length(order_id) >= 1) AND (length(order_id) <= 255))),
    CONSTRAINT credit_code_uses_state_check CHECK ((state = ANY (ARRAY['reserved'::text, 'used'::text, 'released'::text])))
);

COMMENT ON TABLE credit_code_uses IS 'Who used a code, and for which order: reserved when that is made, used when it is paid, released when it will not be.';

COMMENT ON COLUMN credit_code_uses.amount_nanos IS 'What it gives, fixed when it was reserved or redeemed.';

ALTER TABLE credit_code_uses ALTER COLUMN id ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME credit_code_uses_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);

CREATE TABLE credit_codes (
    id bigint NOT NULL,
    code_sha256 bytea NOT NULL,
    prefix text NOT NULL,
    kind text NOT NULL,
    currency text,
    amount_nanos bigint,
    percent integer,
    uses_max integer NOT NULL,
    uses_per_account_max integer NOT NULL,
    uses integer DEFAULT 0 NOT NULL,
    expires_at timestamp with time zone,
    note text,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    retired_at timestamp with time zone,
    CONSTRAINT credit_codes_amount_nanos_check CHECK ((amount_nanos > 0)),
    CONSTRAINT credit_codes_code_sha256_check CHECK ((length(code_sha256) = 32)),
    CONSTRAINT credit_codes_currency_check CHECK ((currency ~ '^[A-Z]{3}$'::text)),
    CONSTRAINT credit_codes_kind_check CHECK ((kind = ANY (ARRAY['credit'::text, 'bonus'::text, 'bonus_percent'::text]))),
    CONSTRAINT credit_codes_note_check CHECK (((length(note) >= 1) AND (length(note) <= 200))),
    CONSTRAINT credit_codes_percent_check CHECK ((percent > 0)),
    CONSTRAINT credit_codes_prefix_check CHECK (((length(prefix) >= 1) AND (length(prefix) <= 8))),
    CONSTRAINT credit_codes_uses CHECK (((uses >= 0) AND (uses <= uses_max))),
    CONSTRAINT credit_codes_uses_max_check CHECK ((uses_max > 0)),
    CONSTRAINT credit_codes_uses_per_account_max_check CHECK ((uses_per_account_max > 0)),
    CONSTRAINT credit_codes_worth CHECK (
CASE kind
    WHEN 'bonus_percent'::text THEN ((percent IS NOT NULL) AND (amount_nanos IS NULL))
    ELSE ((percent IS NULL) AND (amount_nanos IS NOT NULL) AND (currency IS NOT NULL))
END)
);

COMMENT ON TABLE credit_codes IS 'Codes that put money into a wallet, or add a bonus to a purchase.';

COMMENT ON COLUMN credit_codes.kind IS 'credit: is redeemed for amount_nanos; bonus: a purchase gets amount_nanos more; bonus_percent: so much of its price.';

COMMENT ON COLUMN credit_codes.currency IS 'Null: a percentage, of a purchase in any currency.';

COMMENT ON COLUMN credit_codes.uses IS 'How many are reserved or used now: rows of credit_code_uses that are not released.';

ALTER TABLE credit_codes ALTER COLUMN id ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME credit_codes_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);

CREATE TABLE credit_packages (
    id bigint NOT NULL,
    credits bigint NOT NULL,
    currency text NOT NULL,
    price_minor bigint NOT NULL,
    nanos_per_credit bigint DEFAULT 100000000 NOT NULL,
    "position" integer DEFAULT 0 NOT NULL,
    active boolean DEFAULT true NOT NULL,
    version bigint DEFAULT 1 NOT NULL,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    changed_at timestamp with time zone DEFAULT now() NOT NULL,
    CONSTRAINT credit_packages_credits_check CHECK ((credits > 0)),
    CONSTRAINT credit_packages_currency_check CHECK ((currency ~ '^[A-Z]{3}$'::text)),
    CONSTRAINT credit_packages_nanos_per_credit_check CHECK ((nanos_per_credit > 0)),
    CONSTRAINT credit_packages_price_minor_check CHECK ((price_minor > 0))
);

COMMENT ON TABLE credit_packages IS 'Numbers of credits and what they cost. An order keeps what it was sold by; a change is for orders to come.';

COMMENT ON COLUMN credit_packages.price_minor IS 'In minor units of the currency, as ISO 4217 has them.';

COMMENT ON COLUMN credit_packages.nanos_per_credit IS 'What one credit puts into the wallet; above the price that is a bonus.';

COMMENT ON COLUMN credit_packages."position" IS 'Where it stands in the list, lowest first.';

COMMENT ON COLUMN credit_packages.version IS 'Raised by every change; its ETag.';

ALTER TABLE credit_packages ALTER COLUMN id ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME credit_packages_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);

CREATE TABLE dead_events (
    epoch bigint NOT NULL,
    partition integer NOT NULL,
    stream_ms bigint NOT NULL,
    stream_seq bigint NOT NULL,
    reason text NOT NULL,
    charged boolean NOT NULL,
    fields jsonb NOT NULL,
    created_at timestamp with time zone DEFAULT now() NOT NULL
);

COMMENT ON TABLE dead_events IS 'Events that could not be read whole, and why. Not charged: Redis may have taken money that the ledger has not.';

CREATE TABLE deployment (
    only_row boolean DEFAULT true NOT NULL,
    partitions integer NOT NULL,
    epoch bigint NOT NULL,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    id uuid DEFAULT gen_random_uuid() NOT NULL,
    CONSTRAINT deployment_epoch_check CHECK ((epoch >= 1)),
    CONSTRAINT deployment_only_row_check CHECK (only_row),
    CONSTRAINT deployment_partitions_check CHECK (((partitions >= 1) AND (partitions <= 1024)))
);

COMMENT ON TABLE deployment IS 'One row. partitions is fixed for life; epoch names the present life of the Redis projection.';

COMMENT ON COLUMN deployment.id IS 'Whose orders these are: several deployments may share one account at a provider, and number orders alike.';

CREATE TABLE disputes (
    provider text NOT NULL,
    dispute_id text NOT NULL,
    order_id text NOT NULL,
    payment_id bigint NOT NULL,
    currency text NOT NULL,
    amount_nanos bigint NOT NULL,
    status text NOT NULL,
    reason text,
    frozen_nanos bigint DEFAULT 0 NOT NULL,
    frozen_bonus_nanos bigint DEFAULT 0 NOT NULL,
    withdrawn_nanos bigint DEFAULT 0 NOT NULL,
    fee_nanos bigint DEFAULT 0 NOT NULL,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    changed_at timestamp with time zone DEFAULT now() NOT NULL,
    CONSTRAINT disputes_amount_nanos_check CHECK ((amount_nanos > 0)),
    CONSTRAINT disputes_currency_check CHECK ((currency ~ '^[A-Z]{3}$'::text)),
    CONSTRAINT disputes_frozen_bonus_nanos_check CHECK ((frozen_bonus_nanos >= 0)),
    CONSTRAINT disputes_frozen_nanos_check CHECK ((frozen_nanos >= 0)),
    CONSTRAINT disputes_withdrawn_nanos_check CHECK ((withdrawn_nanos >= 0))
);

COMMENT ON TABLE disputes IS 'Payments that a cardholder''s bank took back, or may take back.';

COMMENT ON COLUMN disputes.frozen_nanos IS 'What is out of the wallet, or out of clearing, because of it.';

COMMENT ON COLUMN disputes.withdrawn_nanos IS 'What of that the provider has taken from us.';

CREATE TABLE idempotency_keys (
    scope text NOT NULL,
    key text NOT NULL,
    request_sha256 bytea NOT NULL,
    result jsonb NOT NULL,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    CONSTRAINT idempotency_keys_key_check CHECK (((length(key) >= 1) AND (length(key) <= 255))),
    CONSTRAINT idempotency_keys_request_sha256_check CHECK ((octet_length(request_sha256) = 32))
);

COMMENT ON TABLE idempotency_keys IS 'What was answered to a request that carried a key of its own: the same request gets the same answer.';

CREATE TABLE key_secrets (
    secret_sha256 bytea NOT NULL,
    key_id bigint NOT NULL,
    prefix text NOT NULL,
    generation bigint NOT NULL,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    revoked_at timestamp with time zone,
    CONSTRAINT key_secrets_secret_sha256_check CHECK ((octet_length(secret_sha256) = 32))
);

COMMENT ON TABLE key_secrets IS 'The secrets a key has had, hashed. Rotation adds one and revokes the one before; the key itself stays.';

COMMENT ON COLUMN key_secrets.generation IS 'The key''s generation when this secret was last changed.';

COMMENT ON COLUMN key_secrets.revoked_at IS 'From when on the secret is no good; in the future after a rotation with a grace period.';

CREATE TABLE plan_assignments (
    id bigint NOT NULL,
    plan_id bigint NOT NULL,
    account_id bigint NOT NULL,
    team_id bigint,
    user_id bigint,
    key_id bigint,
    zone text,
    effective_from timestamp with time zone NOT NULL,
    effective_to timestamp with time zone,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    CONSTRAINT plan_assignments_of_one CHECK ((num_nonnulls(team_id, user_id, key_id) <= 1)),
    CONSTRAINT plan_assignments_span CHECK (((effective_to IS NULL) OR (effective_to >= effective_from)))
);

COMMENT ON TABLE plan_assignments IS 'Who is on a plan, and when: a key, a user, a team, or the account where none is named. Ending one sets effective_to.';

COMMENT ON COLUMN plan_assignments.zone IS 'Instead of the plan''s own zone; null: the plan''s.';

CREATE TABLE rates (
    id bigint NOT NULL,
    account_id bigint NOT NULL,
    key_id bigint,
    user_id bigint,
    team_id bigint,
    model_pattern text,
    rpm bigint,
    tpm bigint,
    parallel bigint,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    removed_at timestamp with time zone,
    version bigint DEFAULT 1 NOT NULL,
    CONSTRAINT rates_limit_something CHECK ((num_nonnulls(rpm, tpm, parallel) >= 1)),
    CONSTRAINT rates_model_pattern_check CHECK (((length(model_pattern) >= 1) AND (length(model_pattern) <= 256))),
    CONSTRAINT rates_of_one CHECK ((num_nonnulls(key_id, user_id, team_id) <= 1)),
    CONSTRAINT rates_parallel_check CHECK (((parallel >= 1) AND (parallel <= 1000000))),
    CONSTRAINT rates_rpm_check CHECK (((rpm >= 1) AND (rpm <= 1000000000))),
    CONSTRAINT rates_tpm_check CHECK (((tpm >= 1) AND (tpm <= '1000000000000'::bigint)))
);

COMMENT ON TABLE rates IS 'Requests and tokens per minute, calls in parallel: on a key, a user, a team, or the account where none is named.';

COMMENT ON COLUMN rates.model_pattern IS 'Only calls of models that match it (fnmatch), taken together; null: all.';

COMMENT ON COLUMN rates.version IS 'Raised by every change; its ETag.';

CREATE TABLE users (
    id bigint NOT NULL,
    account_id bigint NOT NULL,
    name text NOT NULL,
    email text,
    external_id text,
    disabled_at timestamp with time zone,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    team_id bigint,
    CONSTRAINT users_email_check CHECK (((length(email) >= 3) AND (length(email) <= 254))),
    CONSTRAINT users_external_id_check CHECK (((length(external_id) >= 1) AND (length(external_id) <= 255))),
    CONSTRAINT users_name_check CHECK (((length(name) >= 1) AND (length(name) <= 200)))
);

COMMENT ON TABLE users IS 'Who calls, within an account. While disabled_at is set none of the user''s keys is good.';

COMMENT ON COLUMN users.external_id IS 'The operator''s own name for the user.';

COMMENT ON COLUMN users.team_id IS 'The team that the user is in; null: none.';

CREATE TABLE windows (
    id bigint NOT NULL,
    account_id bigint NOT NULL,
    key_id bigint,
    kind text NOT NULL,
    limit_nanos bigint,
    zone text DEFAULT '+08:00'::text NOT NULL,
    reset_time text DEFAULT '00:00'::text NOT NULL,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    user_id bigint,
    team_id bigint,
    extra_nanos bigint DEFAULT 0 NOT NULL,
    extra_until timestamp with time zone,
    removed_at timestamp with time zone,
    assignment_id bigint,
    counts text DEFAULT 'limit'::text NOT NULL,
    version bigint DEFAULT 1 NOT NULL,
    CONSTRAINT windows_counts_check CHECK ((counts = ANY (ARRAY['limit'::text, 'grace'::text, 'degrade'::text]))),
    CONSTRAINT windows_counts_of_plan CHECK (((counts = 'limit'::text) OR (assignment_id IS NOT NULL))),
    CONSTRAINT windows_extra_nanos_check CHECK (((extra_nanos >= 0) AND (extra_nanos <= '9000000000000000000'::bigint))),
    CONSTRAINT windows_kind_check CHECK ((kind = ANY (ARRAY['lifetime'::text, 'day'::text, 'week'::text, 'month'::text, '5h'::text]))),
    CONSTRAINT windows_limit_nanos_check CHECK (((limit_nanos >= 0) AND (limit_nanos <= '9000000000000000000'::bigint))),
    CONSTRAINT windows_limit_or_plan CHECK (((limit_nanos IS NULL) = (assignment_id IS NOT NULL))),
    CONSTRAINT windows_of_one CHECK ((num_nonnulls(key_id, user_id, team_id) <= 1)),
    CONSTRAINT windows_reset_time_check CHECK ((reset_time ~ '^([01][0-9]|2[0-3]):[0-5][0-9]$'::text))
);

COMMENT ON TABLE windows IS 'Spend caps: on a key, a user or a team, or on the whole account where none is named.';

COMMENT ON COLUMN windows.extra_nanos IS 'A temporary increase of the limit, until extra_until.';

COMMENT ON COLUMN windows.assignment_id IS 'Of a plan''s daily limit, which has limit, zone and reset time.';

COMMENT ON COLUMN windows.counts IS 'Of a plan: what goes by its limit, or what its grace or degraded calls spend beyond it.';

COMMENT ON COLUMN windows.version IS 'Raised by every change; its ETag.';

CREATE VIEW key_records AS
 SELECT s.secret_sha256,
    s.prefix,
    s.generation AS secret_generation,
    (s.revoked_at IS NULL) AS current_secret,
    k.id AS key_id,
    k.account_id,
    a.partition,
    a.currency,
    k.generation,
    k.redis_generation,
    k.name,
    k.models,
    k.expires_at,
    k.revoked_at,
    k.created_at,
    ((k.revoked_at IS NOT NULL) OR (s.revoked_at IS NOT NULL)) AS revoked,
    ( SELECT COALESCE(jsonb_agg(jsonb_build_object('window_id', w.id, 'key_id', w.key_id, 'kind', w.kind, 'limit_nanos', w.limit_nanos, 'zone', w.zone, 'reset_time', w.reset_time, 'extra_nanos', w.extra_nanos, 'extra_until', w.extra_until) ORDER BY w.id), '[]'::jsonb) AS "coalesce"
           FROM windows w
          WHERE ((w.account_id = k.account_id) AND (w.removed_at IS NULL) AND (w.assignment_id IS NULL) AND
                CASE
                    WHEN (w.key_id IS NOT NULL) THEN (w.key_id = k.id)
                    WHEN (w.user_id IS NOT NULL) THEN (w.user_id = k.user_id)
                    WHEN (w.team_id IS NOT NULL) THEN (w.team_id = u.team_id)
                    ELSE true
                END)) AS windows,
    k.user_id,
    (u.disabled_at IS NOT NULL) AS user_disabled,
    u.team_id,
    ( SELECT COALESCE(jsonb_agg(jsonb_build_object('rate_id', r.id, 'key_id', r.key_id, 'model_pattern', r.model_pattern, 'rpm', r.rpm, 'tpm', r.tpm, 'parallel', r.parallel) ORDER BY r.id), '[]'::jsonb) AS "coalesce"
           FROM rates r
          WHERE ((r.account_id = k.account_id) AND (r.removed_at IS NULL) AND
                CASE
                    WHEN (r.key_id IS NOT NULL) THEN (r.key_id = k.id)
                    WHEN (r.user_id IS NOT NULL) THEN (r.user_id = k.user_id)
                    WHEN (r.team_id IS NOT NULL) THEN (r.team_id = u.team_id)
                    ELSE true
                END)) AS rates,
    k.models_denied,
    k.scopes,
    k.ip_allowlist,
    k.metadata,
    k.tags,
    ( SELECT COALESCE(jsonb_agg(jsonb_build_object('plan_id', p.plan_id, 'zone', p.zone, 'window_id', ( SELECT windows.id
                   FROM windows
                  WHERE ((windows.assignment_id = p.id) AND (windows.counts = 'limit'::text))), 'grace_window_id', ( SELECT windows.id
                   FROM windows
                  WHERE ((windows.assignment_id = p.id) AND (windows.counts = 'grace'::text))), 'degrade_window_id', ( SELECT windows.id
                   FROM windows
                  WHERE ((windows.assignment_id = p.id) AND (windows.counts = 'degrade'::text))), 'from_ms', ((EXTRACT(epoch FROM p.effective_from) * (1000)::numeric))::bigint, 'to_ms', ((EXTRACT(epoch FROM p.effective_to) * (1000)::numeric))::bigint) ORDER BY (p.key_id IS NULL), (p.user_id IS NULL), (p.team_id IS NULL), p.id), '[]'::jsonb) AS "coalesce"
           FROM plan_assignments p
          WHERE ((p.account_id = k.account_id) AND ((p.effective_to IS NULL) OR (p.effective_to > now())) AND
                CASE
                    WHEN (p.key_id IS NOT NULL) THEN (p.key_id = k.id)
                    WHEN (p.user_id IS NOT NULL) THEN (p.user_id = k.user_id)
                    WHEN (p.team_id IS NOT NULL) THEN (p.team_id = u.team_id)
                    ELSE true
                END)) AS plans
   FROM (((key_secrets s
     JOIN api_keys k ON ((k.id = s.key_id)))
     JOIN accounts a ON ((a.id = k.account_id)))
     LEFT JOIN users u ON ((u.id = k.user_id)));

COMMENT ON VIEW key_records IS 'All that a request needs to know of a key, one row per secret; windows are those of the key and its account.';

CREATE TABLE ledger_entries (
    transaction_id bigint NOT NULL,
    line smallint NOT NULL,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    ledger_account text NOT NULL,
    account_id bigint,
    currency text NOT NULL,
    amount_nanos bigint NOT NULL,
    CONSTRAINT ledger_entries_amount_nanos_check CHECK ((amount_nanos <> 0)),
    CONSTRAINT ledger_entries_currency_check CHECK ((currency ~ '^[A-Z]{3}$'::text)),
    CONSTRAINT ledger_entries_ledger_account_check CHECK (((length(ledger_account) >= 1) AND (length(ledger_account) <= 64))),
    CONSTRAINT ledger_entries_wallet_owner CHECK (((ledger_account = 'wallet'::text) = (account_id IS NOT NULL)))
)
PARTITION BY RANGE (created_at);

COMMENT ON TABLE ledger_entries IS 'Signed lines; those of a transaction sum to zero per currency.';

COMMENT ON COLUMN ledger_entries.ledger_account IS 'wallet (of account_id), or a house account: revenue, credit:operator, clearing, ... which has no balance row.';

CREATE TABLE ledger_entries_default (
    transaction_id bigint NOT NULL,
    line smallint NOT NULL,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    ledger_account text NOT NULL,
    account_id bigint,
    currency text NOT NULL,
    amount_nanos bigint NOT NULL,
    CONSTRAINT ledger_entries_amount_nanos_check CHECK ((amount_nanos <> 0)),
    CONSTRAINT ledger_entries_currency_check CHECK ((currency ~ '^[A-Z]{3}$'::text)),
    CONSTRAINT ledger_entries_ledger_account_check CHECK (((length(ledger_account) >= 1) AND (length(ledger_account) <= 64))),
    CONSTRAINT ledger_entries_wallet_owner CHECK (((ledger_account = 'wallet'::text) = (account_id IS NOT NULL)))
);

CREATE SEQUENCE ledger_transaction_ids
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1;

CREATE TABLE ledger_transactions (
    id bigint NOT NULL,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    kind text NOT NULL,
    account_id bigint,
    ref text,
    detail jsonb,
    CONSTRAINT ledger_transactions_kind_check CHECK (((length(kind) >= 1) AND (length(kind) <= 64))),
    CONSTRAINT ledger_transactions_ref_check CHECK ((length(ref) <= 255))
)
PARTITION BY RANGE (created_at);

COMMENT ON TABLE ledger_transactions IS 'One movement of money: why, for whom, and the reference that caused it.';

COMMENT ON COLUMN ledger_transactions.kind IS 'usage, credit, ...';

CREATE TABLE ledger_transactions_default (
    id bigint NOT NULL,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    kind text NOT NULL,
    account_id bigint,
    ref text,
    detail jsonb,
    CONSTRAINT ledger_transactions_kind_check CHECK (((length(kind) >= 1) AND (length(kind) <= 64))),
    CONSTRAINT ledger_transactions_ref_check CHECK ((length(ref) <= 255))
);

CREATE TABLE model_rules (
    id bigint NOT NULL,
    account_id bigint NOT NULL,
    team_id bigint,
    user_id bigint,
    allow text[],
    deny text[],
    version bigint DEFAULT 1 NOT NULL,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    removed_at timestamp with time zone,
    CONSTRAINT model_rules_allow_check CHECK (((cardinality(allow) >= 1) AND (cardinality(allow) <= 100))),
    CONSTRAINT model_rules_deny_check CHECK (((cardinality(deny) >= 1) AND (cardinality(deny) <= 100))),
    CONSTRAINT model_rules_of_one CHECK ((num_nonnulls(team_id, user_id) <= 1)),
    CONSTRAINT model_rules_say_something CHECK ((num_nonnulls(allow, deny) >= 1))
);

COMMENT ON TABLE model_rules IS 'Patterns (fnmatch) of models that calls below a team, a user, or the account where neither is named, may ask for.';

COMMENT ON COLUMN model_rules.version IS 'Raised by every change; its ETag.';

ALTER TABLE model_rules ALTER COLUMN id ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME model_rules_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);

ALTER TABLE payment_orders ALTER COLUMN id ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME payment_orders_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);

ALTER TABLE payments ALTER COLUMN id ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME payments_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);

ALTER TABLE plan_assignments ALTER COLUMN id ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME plan_assignments_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);

CREATE TABLE plan_cycles (
    assignment_id bigint NOT NULL,
    number integer NOT NULL,
    account_id bigint NOT NULL,
    currency text NOT NULL,
    starts_at timestamp with time zone NOT NULL,
    ends_at timestamp with time zone NOT NULL,
    grant_nanos bigint NOT NULL,
    grant_transaction_id bigint,
    commit_nanos bigint NOT NULL,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    ended_at timestamp with time zone,
    due_nanos bigint,
    spent_nanos numeric,
    true_up_nanos bigint,
    true_up_transaction_id bigint,
    closed_at timestamp with time zone,
    CONSTRAINT plan_cycles_check CHECK ((ends_at > starts_at)),
    CONSTRAINT plan_cycles_closed CHECK ((num_nonnulls(closed_at, ended_at, due_nanos, spent_nanos, true_up_nanos) = ANY (ARRAY[0, 5]))),
    CONSTRAINT plan_cycles_commit_nanos_check CHECK ((commit_nanos >= 0)),
    CONSTRAINT plan_cycles_currency_check CHECK ((currency ~ '^[A-Z]{3}$'::text)),
    CONSTRAINT plan_cycles_grant CHECK (((grant_transaction_id IS NULL) = (grant_nanos = 0))),
    CONSTRAINT plan_cycles_grant_nanos_check CHECK ((grant_nanos >= 0)),
    CONSTRAINT plan_cycles_number_check CHECK ((number >= 1)),
    CONSTRAINT plan_cycles_true_up CHECK (((true_up_transaction_id IS NULL) = (COALESCE(true_up_nanos, (0)::bigint) = 0))),
    CONSTRAINT plan_cycles_true_up_nanos_check CHECK ((true_up_nanos >= 0))
);

COMMENT ON TABLE plan_cycles IS 'Billing cycles of assignments of usage plans, from 1: what was granted, and what was short.';

COMMENT ON COLUMN plan_cycles.commit_nanos IS 'Minimum of the whole cycle; due_nanos is its part if the assignment ended before.';

COMMENT ON COLUMN plan_cycles.spent_nanos IS 'What the calls of the cycle cost when it was closed, corrections included.';

CREATE TABLE plan_daily_limits (
    id bigint NOT NULL,
    plan_id bigint NOT NULL,
    limit_nanos bigint NOT NULL,
    zone text NOT NULL,
    reset_time text NOT NULL,
    before_zone text,
    before_reset_time text,
    before_until timestamp with time zone,
    overflow text[] DEFAULT '{block}'::text[] NOT NULL,
    grace_nanos bigint DEFAULT 0 NOT NULL,
    grace_charged boolean DEFAULT false NOT NULL,
    degrade_map jsonb DEFAULT '{}'::jsonb NOT NULL,
    degrade_default text,
    degrade_nanos bigint,
    funding text DEFAULT 'wallet'::text NOT NULL,
    shadow boolean DEFAULT false NOT NULL,
    shadow_until timestamp with time zone,
    CONSTRAINT plan_daily_limits_before CHECK ((num_nonnulls(before_zone, before_reset_time, before_until) = ANY (ARRAY[0, 3]))),
    CONSTRAINT plan_daily_limits_degrade_map_check CHECK ((jsonb_typeof(degrade_map) = 'object'::text)),
    CONSTRAINT plan_daily_limits_degrade_nanos_check CHECK (((degrade_nanos >= 0) AND (degrade_nanos <= '9000000000000000000'::bigint))),
    CONSTRAINT plan_daily_limits_funding_check CHECK ((funding = ANY (ARRAY['wallet'::text, 'allowance'::text]))),
    CONSTRAINT plan_daily_limits_grace_nanos_check CHECK (((grace_nanos >= 0) AND (grace_nanos <= '9000000000000000000'::bigint))),
    CONSTRAINT plan_daily_limits_limit_nanos_check CHECK (((limit_nanos >= 0) AND (limit_nanos <= '9000000000000000000'::bigint))),
    CONSTRAINT plan_daily_limits_overflow_check CHECK ((overflow <@ '{block,grace,degrade,spill}'::text[])),
    CONSTRAINT plan_daily_limits_overflow_some CHECK ((cardinality(overflow) >= 1)),
    CONSTRAINT plan_daily_limits_reset_time_check CHECK ((reset_time ~ '^([01][0-9]|2[0-3]):[0-5][0-9]$'::text))
);

COMMENT ON COLUMN plan_daily_limits.before_until IS 'The end of the day during which zone or reset time was changed: until then the former ones hold.';

COMMENT ON COLUMN plan_daily_limits.overflow IS 'What is tried, in this order, with a call that the limit does not cover.';

COMMENT ON COLUMN plan_daily_limits.degrade_nanos IS 'What degraded calls may spend a day beyond the limit; null: as much as the limit where the plan pays, else no cap.';

COMMENT ON COLUMN plan_daily_limits.shadow_until IS 'The end of the day during which shadow was taken off: until then what was counted does not bind.';

ALTER TABLE plan_daily_limits ALTER COLUMN id ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME plan_daily_limits_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);

CREATE SEQUENCE plan_revisions
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1;

CREATE TABLE plan_usage (
    id bigint NOT NULL,
    plan_id bigint NOT NULL,
    billing_cycle text NOT NULL,
    commit_nanos bigint NOT NULL,
    grant_nanos bigint NOT NULL,
    tier text,
    included_credits bigint,
    price_per_1k text,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    CONSTRAINT plan_usage_billing_cycle_check CHECK ((billing_cycle = ANY (ARRAY['weekly'::text, 'monthly'::text, 'yearly'::text]))),
    CONSTRAINT plan_usage_commit_nanos_check CHECK (((commit_nanos >= 0) AND (commit_nanos <= '9000000000000000000'::bigint))),
    CONSTRAINT plan_usage_grant_nanos_check CHECK (((grant_nanos >= 0) AND (grant_nanos <= '9000000000000000000'::bigint))),
    CONSTRAINT plan_usage_included_credits_check CHECK ((included_credits >= 0)),
    CONSTRAINT plan_usage_price_per_1k_check CHECK (((length(price_per_1k) >= 1) AND (length(price_per_1k) <= 40))),
    CONSTRAINT plan_usage_tier_check CHECK (((length(tier) >= 1) AND (length(tier) <= 32)))
);

COMMENT ON TABLE plan_usage IS 'Terms of usage plans. Those of a cycle are kept with it when it begins.';

COMMENT ON COLUMN plan_usage.tier IS 'Told to who asks, as are included_credits and price_per_1k; they move no money.';

ALTER TABLE plan_usage ALTER COLUMN id ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME plan_usage_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);

CREATE TABLE plans (
    id bigint NOT NULL,
    name text NOT NULL,
    type text NOT NULL,
    currency text NOT NULL,
    revision bigint DEFAULT 0 NOT NULL,
    archived_at timestamp with time zone,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    CONSTRAINT plans_currency_check CHECK ((currency ~ '^[A-Z]{3}$'::text)),
    CONSTRAINT plans_name_check CHECK (((length(name) >= 1) AND (length(name) <= 200))),
    CONSTRAINT plans_type_check CHECK ((type = ANY (ARRAY['daily_limit'::text, 'usage'::text])))
);

COMMENT ON COLUMN plans.revision IS 'Raised by every change of the plan or of a part of it; its ETag.';

ALTER TABLE plans ALTER COLUMN id ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME plans_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);

CREATE TABLE prices (
    id bigint NOT NULL,
    pattern text NOT NULL,
    currency text NOT NULL,
    effective_from timestamp with time zone NOT NULL,
    sold boolean DEFAULT true NOT NULL,
    origin text NOT NULL,
    terms jsonb NOT NULL,
    created_at timestamp with time zone DEFAULT clock_timestamp() NOT NULL,
    plan_id bigint,
    CONSTRAINT prices_currency_check CHECK ((currency ~ '^[A-Z]{3}$'::text)),
    CONSTRAINT prices_origin_check CHECK ((origin = ANY (ARRAY['set'::text, 'import'::text]))),
    CONSTRAINT prices_pattern_check CHECK (((length(pattern) >= 1) AND (length(pattern) <= 256))),
    CONSTRAINT prices_terms_check CHECK ((jsonb_typeof(terms) = 'object'::text))
);

COMMENT ON TABLE prices IS 'Versions of prices. Of one pattern and currency the newest that is in effect holds; none is ever changed.';

COMMENT ON COLUMN prices.pattern IS 'A model''s exact name, or a pattern (fnmatch); the longest that fits holds.';

COMMENT ON COLUMN prices.sold IS 'False: from here on the models of this pattern are not sold.';

COMMENT ON COLUMN prices.terms IS 'Rates in nanos per million tokens, per tier and context size, units, token limits: rabbitgw/billing/price_terms.py.';

COMMENT ON COLUMN prices.plan_id IS 'Only for calls on this plan; null: the list price.';

ALTER TABLE prices ALTER COLUMN id ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME prices_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);

CREATE TABLE provider_customers (
    account_id bigint NOT NULL,
    provider text NOT NULL,
    livemode boolean NOT NULL,
    customer_id text NOT NULL,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    CONSTRAINT provider_customers_customer_id_check CHECK (((length(customer_id) >= 1) AND (length(customer_id) <= 255)))
);

COMMENT ON TABLE provider_customers IS 'Who an account is at a provider.';

CREATE TABLE provider_events (
    id bigint NOT NULL,
    provider text NOT NULL,
    event_id text NOT NULL,
    type text NOT NULL,
    body bytea NOT NULL,
    livemode boolean NOT NULL,
    wanted boolean NOT NULL,
    provider_txn_id text,
    order_id text,
    made_at timestamp with time zone,
    source text NOT NULL,
    deliveries integer DEFAULT 1 NOT NULL,
    state text DEFAULT 'stored'::text NOT NULL,
    outcome text,
    attempts integer DEFAULT 0 NOT NULL,
    next_try_at timestamp with time zone DEFAULT now() NOT NULL,
    received_at timestamp with time zone DEFAULT now() NOT NULL,
    ended_at timestamp with time zone,
    CONSTRAINT provider_events_event_id_check CHECK (((length(event_id) >= 1) AND (length(event_id) <= 255))),
    CONSTRAINT provider_events_source_check CHECK ((source = ANY (ARRAY['webhook'::text, 'backfill'::text]))),
    CONSTRAINT provider_events_state_check CHECK ((state = ANY (ARRAY['stored'::text, 'done'::text, 'ignored'::text, 'given_up'::text]))),
    CONSTRAINT provider_events_type_check CHECK (((length(type) >= 1) AND (length(type) <= 255)))
);

COMMENT ON TABLE provider_events IS 'What providers told us, as it came, before anything is made of it.';

COMMENT ON COLUMN provider_events.body IS 'The bytes whose signature was good; of a back-fill, as the provider answered.';

COMMENT ON COLUMN provider_events.next_try_at IS 'From when on a worker may take it: also the end of the lease of the one that has it.';

ALTER TABLE provider_events ALTER COLUMN id ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME provider_events_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);

ALTER TABLE rates ALTER COLUMN id ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME rates_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);

CREATE TABLE rerates (
    id bigint NOT NULL,
    idempotency_key text NOT NULL,
    request_sha256 bytea NOT NULL,
    wrong_version bigint NOT NULL,
    right_version bigint NOT NULL,
    last_id uuid NOT NULL,
    left_out bigint[] NOT NULL,
    refused jsonb DEFAULT '{}'::jsonb NOT NULL,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    finished_at timestamp with time zone,
    CONSTRAINT rerates_idempotency_key_check CHECK (((length(idempotency_key) >= 1) AND (length(idempotency_key) <= 255))),
    CONSTRAINT rerates_refused_check CHECK ((jsonb_typeof(refused) = 'object'::text)),
    CONSTRAINT rerates_request_sha256_check CHECK ((octet_length(request_sha256) = 32))
);

COMMENT ON TABLE rerates IS 'Runs that correct the calls of a span from one price version to another.';

COMMENT ON COLUMN rerates.last_id IS 'How far it has come: the calls of its span up to this id are done.';

COMMENT ON COLUMN rerates.left_out IS 'Accounts that it leaves as they are: their wallets would go below zero.';

COMMENT ON COLUMN rerates.refused IS 'Calls whose cost cannot be told anew, by reason: {"calls", "examples"}.';

ALTER TABLE rerates ALTER COLUMN id ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME rerates_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);

CREATE TABLE schema_migrations (
    name text NOT NULL,
    sha256 text NOT NULL,
    applied_at timestamp with time zone DEFAULT now() NOT NULL
);

COMMENT ON TABLE schema_migrations IS 'Which migration files this database has had, and what they contained.';

CREATE TABLE teams (
    id bigint NOT NULL,
    account_id bigint NOT NULL,
    name text NOT NULL,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    CONSTRAINT teams_name_check CHECK (((length(name) >= 1) AND (length(name) <= 200)))
);

COMMENT ON TABLE teams IS 'Users of an account that limits and reports take together.';

ALTER TABLE teams ALTER COLUMN id ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME teams_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);

CREATE TABLE usage (
    id uuid NOT NULL,
    account_id bigint NOT NULL,
    currency text NOT NULL,
    status text NOT NULL,
    late boolean NOT NULL,
    charge_nanos bigint NOT NULL,
    moved_nanos bigint NOT NULL,
    expired_nanos bigint NOT NULL,
    expired_position bigint,
    ledger_transaction_id bigint,
    partition integer NOT NULL,
    epoch bigint NOT NULL,
    "position" bigint,
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
    admitted_at timestamp with time zone,
    first_byte_at timestamp with time zone,
    finished_at timestamp with time zone,
    booked_at timestamp with time zone DEFAULT now() NOT NULL,
    upstream_model text,
    service_tier text,
    error_code text,
    tools jsonb,
    per_model jsonb,
    streamed boolean NOT NULL,
    shortfall_nanos bigint NOT NULL,
    held_input_tokens bigint NOT NULL,
    user_id bigint,
    excess_nanos bigint DEFAULT 0 NOT NULL,
    team_id bigint,
    included_nanos bigint DEFAULT 0 NOT NULL,
    overflow text,
    model_asked text,
    images bigint DEFAULT 0 NOT NULL,
    image_kind text,
    audio_ms bigint,
    characters bigint DEFAULT 0 NOT NULL,
    image_input_tokens bigint,
    image_output_tokens bigint,
    upstream_cost_nanos bigint,
    CONSTRAINT usage_expired_once CHECK (((expired_position IS NOT NULL) OR (expired_nanos = 0))),
    CONSTRAINT usage_status_check CHECK ((status = ANY (ARRAY['settled'::text, 'partial'::text, 'released'::text, 'expired'::text])))
)
PARTITION BY RANGE (id);

COMMENT ON TABLE usage IS 'One row per call that ended: what it used and what it cost. The id is that of its hold.';

COMMENT ON COLUMN usage.late IS 'It was settled after its hold had expired.';

COMMENT ON COLUMN usage.charge_nanos IS 'What the call cost in all.';

COMMENT ON COLUMN usage.moved_nanos IS 'What ledger_transaction_id moved for it: charge_nanos, less what an earlier transaction had booked at expiry.';

COMMENT ON COLUMN usage.expired_nanos IS 'The part of the charge that was made by the expiry of the hold.';

COMMENT ON COLUMN usage.expired_position IS 'The same of the event of its expiry.';

COMMENT ON COLUMN usage."position" IS 'Place of its last event in the partition''s stream: ms * 2^20 + sequence; null: it did not come by a stream.';

COMMENT ON COLUMN usage.windows IS '"id:span,...": each moved by the charge; "id:span=nanos,...": by its own amount. Behind ";" (";;": booked apart) what a late end moved.';

COMMENT ON COLUMN usage.shortfall_nanos IS 'How much less than its bound was held, by the last-money rule: what the call may have overspent.';

COMMENT ON COLUMN usage.held_input_tokens IS 'Input tokens that the hold covered; 0 where that is not known.';

COMMENT ON COLUMN usage.user_id IS 'Whose key it was when the call was admitted.';

COMMENT ON COLUMN usage.excess_nanos IS 'How much more than its hold a stream has cost; 0 for the last-money call, whose shortfall_nanos says it.';

COMMENT ON COLUMN usage.team_id IS 'The team of its user when the call was admitted.';

COMMENT ON COLUMN usage.included_nanos IS 'What of its cost a plan bore; it is not in charge_nanos.';

COMMENT ON COLUMN usage.overflow IS 'By which policy of a plan it went beyond a daily limit; null: it did not.';

COMMENT ON COLUMN usage.model_asked IS 'The model that the caller asked for, where a plan had another one serve.';

COMMENT ON COLUMN usage.image_kind IS 'Size and quality of its images, as a price names them: "1024x1792:hd".';

COMMENT ON COLUMN usage.audio_ms IS 'Sound that it heard or made, where that is stated or charged; null: booked before that was kept.';

COMMENT ON COLUMN usage.characters IS 'Of the text that it was to speak.';

COMMENT ON COLUMN usage.image_input_tokens IS 'Of its input; null: booked before that was kept.';

COMMENT ON COLUMN usage.image_output_tokens IS 'Of its output; null: booked before that was kept.';

COMMENT ON COLUMN usage.upstream_cost_nanos IS 'What upstream says that it cost, in 10^-9 US dollars; null: it said nothing.';

CREATE TABLE usage_default (
    id uuid NOT NULL,
    account_id bigint NOT NULL,
    currency text NOT NULL,
    status text NOT NULL,
    late boolean NOT NULL,
    charge_nanos bigint NOT NULL,
    moved_nanos bigint NOT NULL,
    expired_nanos bigint NOT NULL,
    expired_position bigint,
    ledger_transaction_id bigint,
    partition integer NOT NULL,
    epoch bigint NOT NULL,
    "position" bigint,
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
    admitted_at timestamp with time zone,
    first_byte_at timestamp with time zone,
    finished_at timestamp with time zone,
    booked_at timestamp with time zone DEFAULT now() NOT NULL,
    upstream_model text,
    service_tier text,
    error_code text,
    tools jsonb,
    per_model jsonb,
    streamed boolean NOT NULL,
    shortfall_nanos bigint NOT NULL,
    held_input_tokens bigint NOT NULL,
    user_id bigint,
    excess_nanos bigint DEFAULT 0 NOT NULL,
    team_id bigint,
    included_nanos bigint DEFAULT 0 NOT NULL,
    overflow text,
    model_asked text,
    images bigint DEFAULT 0 NOT NULL,
    image_kind text,
    audio_ms bigint,
    characters bigint DEFAULT 0 NOT NULL,
    image_input_tokens bigint,
    image_output_tokens bigint,
    upstream_cost_nanos bigint,
    CONSTRAINT usage_expired_once CHECK (((expired_position IS NOT NULL) OR (expired_nanos = 0))),
    CONSTRAINT usage_status_check CHECK ((status = ANY (ARRAY['settled'::text, 'partial'::text, 'released'::text, 'expired'::text])))
);

CREATE TABLE usage_deltas (
    account_id bigint NOT NULL,
    quarter integer NOT NULL,
    currency text NOT NULL,
    model text NOT NULL,
    key_id bigint NOT NULL,
    user_id bigint NOT NULL,
    team_id bigint NOT NULL,
    calls integer NOT NULL,
    released_calls integer NOT NULL,
    input_tokens bigint NOT NULL,
    cached_input_tokens bigint NOT NULL,
    cache_write_tokens bigint NOT NULL,
    cache_write_1h_tokens bigint NOT NULL,
    output_tokens bigint NOT NULL,
    reasoning_tokens bigint NOT NULL,
    audio_input_tokens bigint NOT NULL,
    audio_output_tokens bigint NOT NULL,
    charge_nanos bigint NOT NULL,
    images bigint DEFAULT 0 NOT NULL,
    audio_ms bigint DEFAULT 0 NOT NULL,
    characters bigint DEFAULT 0 NOT NULL,
    costed_calls integer DEFAULT 0 NOT NULL,
    upstream_cost_nanos bigint DEFAULT 0 NOT NULL,
    costed_charge_nanos bigint DEFAULT 0 NOT NULL
)
WITH (autovacuum_vacuum_scale_factor='0', autovacuum_vacuum_threshold='50000', autovacuum_vacuum_cost_delay='0');

COMMENT ON TABLE usage_deltas IS 'Changes of usage that usage_rollups does not have yet; negative where a late end replaced an expiry.';

COMMENT ON COLUMN usage_deltas.model IS 'Empty where usage names none; a key, user or team is then 0.';

CREATE TABLE usage_rollups (
    account_id bigint NOT NULL,
    scope smallint NOT NULL,
    grain smallint NOT NULL,
    quarter integer NOT NULL,
    currency text NOT NULL,
    model text NOT NULL,
    key_id bigint NOT NULL,
    user_id bigint NOT NULL,
    team_id bigint NOT NULL,
    calls bigint NOT NULL,
    released_calls bigint NOT NULL,
    input_tokens numeric NOT NULL,
    cached_input_tokens numeric NOT NULL,
    cache_write_tokens numeric NOT NULL,
    cache_write_1h_tokens numeric NOT NULL,
    output_tokens numeric NOT NULL,
    reasoning_tokens numeric NOT NULL,
    audio_input_tokens numeric NOT NULL,
    audio_output_tokens numeric NOT NULL,
    charge_nanos numeric NOT NULL,
    images numeric DEFAULT 0 NOT NULL,
    audio_ms numeric DEFAULT 0 NOT NULL,
    characters numeric DEFAULT 0 NOT NULL,
    costed_calls bigint DEFAULT 0 NOT NULL,
    upstream_cost_nanos numeric DEFAULT 0 NOT NULL,
    costed_charge_nanos numeric DEFAULT 0 NOT NULL,
    CONSTRAINT usage_rollups_grain_check CHECK ((grain = ANY (ARRAY[1, 32]))),
    CONSTRAINT usage_rollups_scope_check CHECK (((scope >= 0) AND (scope <= 2)))
)
WITH (fillfactor='80');

COMMENT ON TABLE usage_rollups IS 'Sums of usage, each call in six rows: three scopes by two grains.';

COMMENT ON COLUMN usage_rollups.scope IS '0: all accounts (account_id 0), by model; 1: an account, by model; 2: by model, key, user and team.';

COMMENT ON COLUMN usage_rollups.grain IS 'Quarter hours in the row: 1, or 32, which is a third of a day in UTC.';

COMMENT ON COLUMN usage_rollups.quarter IS 'The first of them, counted from 1970 in UTC.';

COMMENT ON COLUMN usage_rollups.costed_calls IS 'Of its calls, those of which upstream said what they cost.';

COMMENT ON COLUMN usage_rollups.costed_charge_nanos IS 'What those were charged, corrections included.';

ALTER TABLE users ALTER COLUMN id ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME users_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);

CREATE TABLE wallet_credits (
    account_id bigint NOT NULL,
    currency text NOT NULL,
    seq bigint NOT NULL,
    amount_nanos bigint NOT NULL,
    ledger_transaction_id bigint NOT NULL,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    applied_at timestamp with time zone,
    take_id uuid,
    CONSTRAINT wallet_credits_seq_check CHECK ((seq >= 1))
);

COMMENT ON TABLE wallet_credits IS 'Booked changes of a wallet, other than charges, that Redis has to learn, numbered without gaps per wallet.';

COMMENT ON COLUMN wallet_credits.take_id IS 'Under which id Redis may have set aside what this credit takes; null where nothing is set aside first.';

CREATE TABLE wallets (
    account_id bigint NOT NULL,
    currency text NOT NULL,
    balance_nanos bigint DEFAULT 0 NOT NULL,
    credit_seq bigint DEFAULT 0 NOT NULL,
    worst_nanos bigint DEFAULT 0 NOT NULL,
    below_since timestamp with time zone,
    CONSTRAINT wallets_balance_nanos_check CHECK (((balance_nanos >= '-9000000000000000000'::bigint) AND (balance_nanos <= '9000000000000000000'::bigint))),
    CONSTRAINT wallets_credit_seq_check CHECK ((credit_seq >= 0)),
    CONSTRAINT wallets_currency_check CHECK ((currency ~ '^[A-Z]{3}$'::text)),
    CONSTRAINT wallets_worst_nanos_check CHECK ((worst_nanos <= 0))
);

COMMENT ON TABLE wallets IS 'Prepaid money: the sum of its ledger entries, kept with each of them.';

COMMENT ON COLUMN wallets.credit_seq IS 'How many credits were ever booked; Redis applies them in this order.';

COMMENT ON COLUMN wallets.worst_nanos IS 'The lowest balance ever seen, where below zero.';

COMMENT ON COLUMN wallets.below_since IS 'When the balance, as booked, went below zero; null while it is not.';

CREATE TABLE window_spans (
    window_id bigint NOT NULL,
    span text NOT NULL,
    used_nanos bigint NOT NULL
)
WITH (fillfactor='70');

COMMENT ON TABLE window_spans IS 'What has been charged in each span of each window; open holds are in Redis only.';

ALTER TABLE windows ALTER COLUMN id ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME windows_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);

ALTER TABLE ONLY ledger_entries ATTACH PARTITION ledger_entries_default DEFAULT;

ALTER TABLE ONLY ledger_transactions ATTACH PARTITION ledger_transactions_default DEFAULT;

ALTER TABLE ONLY usage ATTACH PARTITION usage_default DEFAULT;

ALTER TABLE ONLY accounts
    ADD CONSTRAINT accounts_pkey PRIMARY KEY (id);

ALTER TABLE ONLY api_keys
    ADD CONSTRAINT api_keys_pkey PRIMARY KEY (id);

ALTER TABLE ONLY backfills
    ADD CONSTRAINT backfills_pkey PRIMARY KEY (provider);

ALTER TABLE ONLY consumer_cursors
    ADD CONSTRAINT consumer_cursors_pkey PRIMARY KEY (epoch, partition);

ALTER TABLE ONLY corrections
    ADD CONSTRAINT corrections_pkey PRIMARY KEY (usage_id, number);

ALTER TABLE ONLY credit_code_tries
    ADD CONSTRAINT credit_code_tries_pkey PRIMARY KEY (account_id);

ALTER TABLE ONLY credit_code_uses
    ADD CONSTRAINT credit_code_uses_pkey PRIMARY KEY (id);

ALTER TABLE ONLY credit_codes
    ADD CONSTRAINT credit_codes_code_sha256_key UNIQUE (code_sha256);

ALTER TABLE ONLY credit_codes
    ADD CONSTRAINT credit_codes_pkey PRIMARY KEY (id);

ALTER TABLE ONLY credit_packages
    ADD CONSTRAINT credit_packages_pkey PRIMARY KEY (id);

ALTER TABLE ONLY dead_events
    ADD CONSTRAINT dead_events_pkey PRIMARY KEY (epoch, partition, stream_ms, stream_seq);

ALTER TABLE ONLY deployment
    ADD CONSTRAINT deployment_pkey PRIMARY KEY (only_row);

ALTER TABLE ONLY disputes
    ADD CONSTRAINT disputes_pkey PRIMARY KEY (provider, dispute_id);

ALTER TABLE ONLY idempotency_keys
    ADD CONSTRAINT idempotency_keys_pkey PRIMARY KEY (scope, key);

ALTER TABLE ONLY key_secrets
    ADD CONSTRAINT key_secrets_pkey PRIMARY KEY (secret_sha256);

ALTER TABLE ONLY ledger_entries
    ADD CONSTRAINT ledger_entries_pkey PRIMARY KEY (transaction_id, line, created_at);

ALTER TABLE ONLY ledger_entries_default
    ADD CONSTRAINT ledger_entries_default_pkey PRIMARY KEY (transaction_id, line, created_at);

ALTER TABLE ONLY ledger_transactions
    ADD CONSTRAINT ledger_transactions_pkey PRIMARY KEY (id, created_at);

ALTER TABLE ONLY ledger_transactions_default
    ADD CONSTRAINT ledger_transactions_default_pkey PRIMARY KEY (id, created_at);

ALTER TABLE ONLY model_rules
    ADD CONSTRAINT model_rules_pkey PRIMARY KEY (id);

ALTER TABLE ONLY payment_orders
    ADD CONSTRAINT payment_orders_order_id_key UNIQUE (order_id);

ALTER TABLE ONLY payment_orders
    ADD CONSTRAINT payment_orders_pkey PRIMARY KEY (id);

ALTER TABLE ONLY payments
    ADD CONSTRAINT payments_pkey PRIMARY KEY (id);

ALTER TABLE ONLY payments
    ADD CONSTRAINT payments_provider_payment_id_key UNIQUE (provider, payment_id);

ALTER TABLE ONLY plan_assignments
    ADD CONSTRAINT plan_assignments_pkey PRIMARY KEY (id);

ALTER TABLE ONLY plan_cycles
    ADD CONSTRAINT plan_cycles_pkey PRIMARY KEY (assignment_id, number);

ALTER TABLE ONLY plan_daily_limits
    ADD CONSTRAINT plan_daily_limits_pkey PRIMARY KEY (id);

ALTER TABLE ONLY plan_daily_limits
    ADD CONSTRAINT plan_daily_limits_plan_id_key UNIQUE (plan_id);

ALTER TABLE ONLY plan_usage
    ADD CONSTRAINT plan_usage_pkey PRIMARY KEY (id);

ALTER TABLE ONLY plan_usage
    ADD CONSTRAINT plan_usage_plan_id_key UNIQUE (plan_id);

ALTER TABLE ONLY plans
    ADD CONSTRAINT plans_pkey PRIMARY KEY (id);

ALTER TABLE ONLY prices
    ADD CONSTRAINT prices_pkey PRIMARY KEY (id);

ALTER TABLE ONLY provider_customers
    ADD CONSTRAINT provider_customers_pkey PRIMARY KEY (account_id, provider, livemode);

ALTER TABLE ONLY provider_events
    ADD CONSTRAINT provider_events_pkey PRIMARY KEY (id);

ALTER TABLE ONLY provider_events
    ADD CONSTRAINT provider_events_provider_event_id_key UNIQUE (provider, event_id);

ALTER TABLE ONLY rates
    ADD CONSTRAINT rates_pkey PRIMARY KEY (id);

ALTER TABLE ONLY refunds
    ADD CONSTRAINT refunds_order_id_idempotency_key_key UNIQUE (order_id, idempotency_key);

ALTER TABLE ONLY refunds
    ADD CONSTRAINT refunds_pkey PRIMARY KEY (id);

ALTER TABLE ONLY refunds
    ADD CONSTRAINT refunds_provider_provider_refund_id_key UNIQUE (provider, provider_refund_id);

ALTER TABLE ONLY rerates
    ADD CONSTRAINT rerates_idempotency_key_key UNIQUE (idempotency_key);

ALTER TABLE ONLY rerates
    ADD CONSTRAINT rerates_pkey PRIMARY KEY (id);

ALTER TABLE ONLY schema_migrations
    ADD CONSTRAINT schema_migrations_pkey PRIMARY KEY (name);

ALTER TABLE ONLY teams
    ADD CONSTRAINT teams_of_account UNIQUE (account_id, id);

ALTER TABLE ONLY teams
    ADD CONSTRAINT teams_pkey PRIMARY KEY (id);

ALTER TABLE ONLY usage
    ADD CONSTRAINT usage_pkey PRIMARY KEY (id);

ALTER TABLE ONLY usage_default
    ADD CONSTRAINT usage_default_pkey PRIMARY KEY (id);

ALTER TABLE ONLY usage_rollups
    ADD CONSTRAINT usage_rollups_pkey PRIMARY KEY (account_id, scope, grain, quarter, currency, model, key_id, user_id, team_id);

ALTER TABLE ONLY users
    ADD CONSTRAINT users_of_account UNIQUE (account_id, id);

ALTER TABLE ONLY users
    ADD CONSTRAINT users_pkey PRIMARY KEY (id);

ALTER TABLE ONLY wallet_credits
    ADD CONSTRAINT wallet_credits_pkey PRIMARY KEY (account_id, currency, seq);

ALTER TABLE ONLY wallets
    ADD CONSTRAINT wallets_pkey PRIMARY KEY (account_id, currency);

ALTER TABLE ONLY window_spans
    ADD CONSTRAINT window_spans_pkey PRIMARY KEY (window_id, span);

ALTER TABLE ONLY windows
    ADD CONSTRAINT windows_of_assignment UNIQUE (assignment_id, counts);

ALTER TABLE ONLY windows
    ADD CONSTRAINT windows_pkey PRIMARY KEY (id);

CREATE INDEX api_keys_account ON api_keys USING btree (account_id);

CREATE INDEX api_keys_unpushed ON api_keys USING btree (id) WHERE (redis_generation < generation);

CREATE INDEX api_keys_user ON api_keys USING btree (user_id) WHERE (user_id IS NOT NULL);

CREATE INDEX corrections_account ON corrections USING btree (account_id, usage_id);

CREATE INDEX corrections_rerate ON corrections USING btree (rerate_id, account_id);

CREATE INDEX credit_code_uses_account ON credit_code_uses USING btree (code_id, account_id) WHERE (state <> 'released'::text);

CREATE UNIQUE INDEX credit_code_uses_one_of_an_order ON credit_code_uses USING btree (order_id) WHERE ((order_id IS NOT NULL) AND (state <> 'released'::text));

CREATE UNIQUE INDEX credit_packages_one_for_sale ON credit_packages USING btree (currency, credits) WHERE active;

CREATE INDEX disputes_order ON disputes USING btree (order_id);

CREATE UNIQUE INDEX key_secrets_current ON key_secrets USING btree (key_id) WHERE (revoked_at IS NULL);

CREATE INDEX key_secrets_key ON key_secrets USING btree (key_id, generation);

CREATE INDEX ledger_entries_wallet ON ONLY ledger_entries USING btree (account_id, currency, transaction_id DESC) WHERE (account_id IS NOT NULL);

CREATE INDEX ledger_entries_default_account_id_currency_transaction_id_idx ON ledger_entries_default USING btree (account_id, currency, transaction_id DESC) WHERE (account_id IS NOT NULL);

CREATE INDEX ledger_transactions_account ON ONLY ledger_transactions USING btree (account_id, id DESC) WHERE (account_id IS NOT NULL);

CREATE INDEX ledger_transactions_default_account_id_id_idx ON ledger_transactions_default USING btree (account_id, id DESC) WHERE (account_id IS NOT NULL);

CREATE UNIQUE INDEX model_rules_one_in_force ON model_rules USING btree (account_id, COALESCE(team_id, (0)::bigint), COALESCE(user_id, (0)::bigint)) WHERE (removed_at IS NULL);

CREATE INDEX payment_orders_account ON payment_orders USING btree (account_id, id DESC);

CREATE INDEX payment_orders_created ON payment_orders USING btree (created_at);

CREATE INDEX payment_orders_open ON payment_orders USING btree (id) WHERE (status = ANY (ARRAY['created'::text, 'awaiting_payment'::text, 'processing'::text, 'failed'::text]));

CREATE UNIQUE INDEX payment_orders_payment ON payment_orders USING btree (payment_id, provider) WHERE (payment_id IS NOT NULL);

CREATE INDEX payment_orders_review ON payment_orders USING btree (id) WHERE (status = 'needs_review'::text);

CREATE UNIQUE INDEX payment_orders_txn ON payment_orders USING btree (provider_txn_id, provider) WHERE (provider_txn_id IS NOT NULL);

CREATE INDEX payments_order ON payments USING btree (order_id);

CREATE INDEX payments_received ON payments USING btree (received_at);

CREATE INDEX plan_assignments_account ON plan_assignments USING btree (account_id);

CREATE INDEX plan_assignments_plan ON plan_assignments USING btree (plan_id);

CREATE INDEX plan_cycles_open ON plan_cycles USING btree (ends_at) WHERE ((closed_at IS NULL) AND (commit_nanos > 0));

CREATE UNIQUE INDEX plans_revision ON plans USING btree (revision);

CREATE INDEX prices_effective ON prices USING btree (effective_from);

CREATE INDEX prices_newest ON prices USING btree (pattern, currency, effective_from DESC, id DESC);

CREATE INDEX prices_plan ON prices USING btree (plan_id, pattern, effective_from DESC, id DESC) WHERE (plan_id IS NOT NULL);

CREATE INDEX provider_events_given_up ON provider_events USING btree (received_at) WHERE (state = 'given_up'::text);

CREATE INDEX provider_events_received ON provider_events USING btree (received_at);

CREATE INDEX provider_events_to_do ON provider_events USING btree (next_try_at) WHERE (state = 'stored'::text);

CREATE INDEX provider_events_txn ON provider_events USING btree (provider, provider_txn_id) WHERE (provider_txn_id IS NOT NULL);

CREATE INDEX rates_account ON rates USING btree (account_id);

CREATE INDEX rates_key ON rates USING btree (key_id) WHERE (key_id IS NOT NULL);

CREATE INDEX refunds_order ON refunds USING btree (order_id);

CREATE INDEX refunds_to_drive ON refunds USING btree (next_try_at) WHERE (state = ANY (ARRAY['requested'::text, 'taken'::text]));

CREATE INDEX usage_account ON ONLY usage USING btree (account_id, id DESC);

CREATE INDEX usage_caller_request ON ONLY usage USING btree (account_id, caller_request_id) WHERE (caller_request_id IS NOT NULL);

CREATE INDEX usage_default_account_id_caller_request_id_idx ON usage_default USING btree (account_id, caller_request_id) WHERE (caller_request_id IS NOT NULL);

CREATE INDEX usage_default_account_id_id_idx ON usage_default USING btree (account_id, id DESC);

CREATE INDEX usage_excess ON ONLY usage USING btree (account_id) WHERE (excess_nanos > 0);

CREATE INDEX usage_default_account_id_idx ON usage_default USING btree (account_id) WHERE (excess_nanos > 0);

CREATE INDEX usage_expired_position ON ONLY usage USING btree (expired_position) WHERE (expired_position IS NOT NULL);

CREATE INDEX usage_default_expired_position_idx ON usage_default USING btree (expired_position) WHERE (expired_position IS NOT NULL);

CREATE INDEX usage_key ON ONLY usage USING btree (key_id, id DESC) WHERE (key_id IS NOT NULL);

CREATE INDEX usage_default_key_id_id_idx ON usage_default USING btree (key_id, id DESC) WHERE (key_id IS NOT NULL);

CREATE INDEX usage_position ON ONLY usage USING brin ("position") WITH (pages_per_range='16', autosummarize='on');

CREATE INDEX usage_default_position_idx ON usage_default USING brin ("position") WITH (pages_per_range='16', autosummarize='on');

CREATE INDEX usage_user ON ONLY usage USING btree (user_id, id DESC) WHERE (user_id IS NOT NULL);

CREATE INDEX usage_default_user_id_id_idx ON usage_default USING btree (user_id, id DESC) WHERE (user_id IS NOT NULL);

CREATE INDEX usage_rollups_key ON usage_rollups USING btree (key_id, grain, quarter) WHERE ((scope = 2) AND (key_id > 0));

CREATE INDEX usage_rollups_team ON usage_rollups USING btree (team_id, grain, quarter) WHERE ((scope = 2) AND (team_id > 0));

CREATE INDEX usage_rollups_user ON usage_rollups USING btree (user_id, grain, quarter) WHERE ((scope = 2) AND (user_id > 0));

CREATE UNIQUE INDEX users_email ON users USING btree (account_id, lower(email)) WHERE (email IS NOT NULL);

CREATE UNIQUE INDEX users_external_id ON users USING btree (account_id, external_id) WHERE (external_id IS NOT NULL);

CREATE INDEX users_team ON users USING btree (team_id) WHERE (team_id IS NOT NULL);

CREATE UNIQUE INDEX wallet_credits_once_per_take ON wallet_credits USING btree (take_id) WHERE (take_id IS NOT NULL);

CREATE INDEX wallet_credits_unapplied ON wallet_credits USING btree (account_id, currency, seq) WHERE (applied_at IS NULL);

CREATE INDEX wallets_below_zero ON wallets USING btree (account_id, currency) WHERE ((worst_nanos < 0) OR (balance_nanos < 0));

CREATE INDEX windows_account ON windows USING btree (account_id);

CREATE INDEX windows_key ON windows USING btree (key_id);

CREATE INDEX windows_team ON windows USING btree (team_id) WHERE (team_id IS NOT NULL);

CREATE INDEX windows_user ON windows USING btree (user_id) WHERE (user_id IS NOT NULL);

ALTER INDEX ledger_entries_wallet ATTACH PARTITION ledger_entries_default_account_id_currency_transaction_id_idx;

ALTER INDEX ledger_entries_pkey ATTACH PARTITION ledger_entries_default_pkey;

ALTER INDEX ledger_transactions_account ATTACH PARTITION ledger_transactions_default_account_id_id_idx;

ALTER INDEX ledger_transactions_pkey ATTACH PARTITION ledger_transactions_default_pkey;

ALTER INDEX usage_caller_request ATTACH PARTITION usage_default_account_id_caller_request_id_idx;

ALTER INDEX usage_account ATTACH PARTITION usage_default_account_id_id_idx;

ALTER INDEX usage_excess ATTACH PARTITION usage_default_account_id_idx;

ALTER INDEX usage_expired_position ATTACH PARTITION usage_default_expired_position_idx;

ALTER INDEX usage_key ATTACH PARTITION usage_default_key_id_id_idx;

ALTER INDEX usage_pkey ATTACH PARTITION usage_default_pkey;

ALTER INDEX usage_position ATTACH PARTITION usage_default_position_idx;

ALTER INDEX usage_user ATTACH PARTITION usage_default_user_id_id_idx;

CREATE TRIGGER begin_below_zero AFTER INSERT ON wallets FOR EACH ROW WHEN ((new.balance_nanos < 0)) EXECUTE FUNCTION wallets_begin_below_zero();

CREATE TRIGGER pass_zero BEFORE UPDATE ON wallets FOR EACH ROW WHEN (((old.balance_nanos < 0) <> (new.balance_nanos < 0))) EXECUTE FUNCTION wallets_pass_zero();

CREATE TRIGGER plans_next_revision BEFORE INSERT OR UPDATE ON plans FOR EACH ROW EXECUTE FUNCTION plans_next_revision();

CREATE TRIGGER prices_append_only BEFORE DELETE OR UPDATE OR TRUNCATE ON prices FOR EACH STATEMENT EXECUTE FUNCTION prices_append_only();

CREATE TRIGGER prices_never_back_dated BEFORE INSERT ON prices FOR EACH ROW EXECUTE FUNCTION prices_never_back_dated();

CREATE TRIGGER prices_take_turns BEFORE INSERT ON prices FOR EACH STATEMENT EXECUTE FUNCTION prices_take_turns();

CREATE TRIGGER refuse_change BEFORE DELETE OR UPDATE ON corrections FOR EACH ROW EXECUTE FUNCTION books_refuse_change();

CREATE TRIGGER refuse_change BEFORE DELETE OR UPDATE ON ledger_entries FOR EACH ROW EXECUTE FUNCTION books_refuse_change();

CREATE TRIGGER refuse_change BEFORE DELETE OR UPDATE ON ledger_transactions FOR EACH ROW EXECUTE FUNCTION books_refuse_change();

CREATE TRIGGER refuse_imbalance AFTER INSERT ON ledger_entries REFERENCING NEW TABLE AS new_lines FOR EACH STATEMENT EXECUTE FUNCTION books_refuse_imbalance();

CREATE TRIGGER refuse_imbalance AFTER INSERT ON ledger_entries_default REFERENCING NEW TABLE AS new_lines FOR EACH STATEMENT EXECUTE FUNCTION books_refuse_imbalance();

CREATE TRIGGER refuse_truncate BEFORE TRUNCATE ON corrections FOR EACH STATEMENT EXECUTE FUNCTION books_refuse_change();

CREATE TRIGGER refuse_truncate BEFORE TRUNCATE ON ledger_entries FOR EACH STATEMENT EXECUTE FUNCTION books_refuse_change();

CREATE TRIGGER refuse_truncate BEFORE TRUNCATE ON ledger_entries_default FOR EACH STATEMENT EXECUTE FUNCTION books_refuse_change();

CREATE TRIGGER refuse_truncate BEFORE TRUNCATE ON ledger_transactions FOR EACH STATEMENT EXECUTE FUNCTION books_refuse_change();

CREATE TRIGGER refuse_truncate BEFORE TRUNCATE ON ledger_transactions_default FOR EACH STATEMENT EXECUTE FUNCTION books_refuse_change();

CREATE TRIGGER write_deltas_of_delete AFTER DELETE ON usage REFERENCING OLD TABLE AS old_rows FOR EACH STATEMENT EXECUTE FUNCTION usage_write_deltas();

CREATE TRIGGER write_deltas_of_insert AFTER INSERT ON corrections REFERENCING NEW TABLE AS new_rows FOR EACH STATEMENT EXECUTE FUNCTION corrections_write_deltas();

CREATE TRIGGER write_deltas_of_insert AFTER INSERT ON usage REFERENCING NEW TABLE AS new_rows FOR EACH STATEMENT EXECUTE FUNCTION usage_write_deltas();

CREATE TRIGGER write_deltas_of_update AFTER UPDATE ON usage REFERENCING OLD TABLE AS old_rows NEW TABLE AS new_rows FOR EACH STATEMENT EXECUTE FUNCTION usage_write_deltas();

ALTER TABLE ONLY api_keys
    ADD CONSTRAINT api_keys_account_id_fkey FOREIGN KEY (account_id) REFERENCES accounts(id);

ALTER TABLE ONLY api_keys
    ADD CONSTRAINT api_keys_user_of_account FOREIGN KEY (account_id, user_id) REFERENCES users(account_id, id);

ALTER TABLE ONLY corrections
    ADD CONSTRAINT corrections_rerate_id_fkey FOREIGN KEY (rerate_id) REFERENCES rerates(id);

ALTER TABLE ONLY credit_code_tries
    ADD CONSTRAINT credit_code_tries_account_id_fkey FOREIGN KEY (account_id) REFERENCES accounts(id);

ALTER TABLE ONLY credit_code_uses
    ADD CONSTRAINT credit_code_uses_account_id_fkey FOREIGN KEY (account_id) REFERENCES accounts(id);

ALTER TABLE ONLY credit_code_uses
    ADD CONSTRAINT credit_code_uses_code_id_fkey FOREIGN KEY (code_id) REFERENCES credit_codes(id);

ALTER TABLE ONLY disputes
    ADD CONSTRAINT disputes_order_id_fkey FOREIGN KEY (order_id) REFERENCES payment_orders(order_id);

ALTER TABLE ONLY disputes
    ADD CONSTRAINT disputes_payment_id_fkey FOREIGN KEY (payment_id) REFERENCES payments(id);

ALTER TABLE ONLY key_secrets
    ADD CONSTRAINT key_secrets_key_id_fkey FOREIGN KEY (key_id) REFERENCES api_keys(id);

ALTER TABLE ONLY model_rules
    ADD CONSTRAINT model_rules_account_id_fkey FOREIGN KEY (account_id) REFERENCES accounts(id);

ALTER TABLE ONLY model_rules
    ADD CONSTRAINT model_rules_team_of_account FOREIGN KEY (account_id, team_id) REFERENCES teams(account_id, id);

ALTER TABLE ONLY model_rules
    ADD CONSTRAINT model_rules_user_of_account FOREIGN KEY (account_id, user_id) REFERENCES users(account_id, id);

ALTER TABLE ONLY payment_orders
    ADD CONSTRAINT payment_orders_account_id_fkey FOREIGN KEY (account_id) REFERENCES accounts(id);

ALTER TABLE ONLY payments
    ADD CONSTRAINT payments_order_id_fkey FOREIGN KEY (order_id) REFERENCES payment_orders(order_id);

ALTER TABLE ONLY plan_assignments
    ADD CONSTRAINT plan_assignments_account_id_fkey FOREIGN KEY (account_id) REFERENCES accounts(id);

ALTER TABLE ONLY plan_assignments
    ADD CONSTRAINT plan_assignments_key_id_fkey FOREIGN KEY (key_id) REFERENCES api_keys(id);

ALTER TABLE ONLY plan_assignments
    ADD CONSTRAINT plan_assignments_plan_id_fkey FOREIGN KEY (plan_id) REFERENCES plans(id);

ALTER TABLE ONLY plan_assignments
    ADD CONSTRAINT plan_assignments_team FOREIGN KEY (account_id, team_id) REFERENCES teams(account_id, id);

ALTER TABLE ONLY plan_assignments
    ADD CONSTRAINT plan_assignments_user FOREIGN KEY (account_id, user_id) REFERENCES users(account_id, id);

ALTER TABLE ONLY plan_cycles
    ADD CONSTRAINT plan_cycles_assignment_id_fkey FOREIGN KEY (assignment_id) REFERENCES plan_assignments(id);

ALTER TABLE ONLY plan_daily_limits
    ADD CONSTRAINT plan_daily_limits_plan_id_fkey FOREIGN KEY (plan_id) REFERENCES plans(id);

ALTER TABLE ONLY plan_usage
    ADD CONSTRAINT plan_usage_plan_id_fkey FOREIGN KEY (plan_id) REFERENCES plans(id);

ALTER TABLE ONLY prices
    ADD CONSTRAINT prices_plan_id_fkey FOREIGN KEY (plan_id) REFERENCES plans(id);

ALTER TABLE ONLY provider_customers
    ADD CONSTRAINT provider_customers_account_id_fkey FOREIGN KEY (account_id) REFERENCES accounts(id);

ALTER TABLE ONLY rates
    ADD CONSTRAINT rates_account_id_fkey FOREIGN KEY (account_id) REFERENCES accounts(id);

ALTER TABLE ONLY rates
    ADD CONSTRAINT rates_key_id_fkey FOREIGN KEY (key_id) REFERENCES api_keys(id);

ALTER TABLE ONLY rates
    ADD CONSTRAINT rates_team_of_account FOREIGN KEY (account_id, team_id) REFERENCES teams(account_id, id);

ALTER TABLE ONLY rates
    ADD CONSTRAINT rates_user_of_account FOREIGN KEY (account_id, user_id) REFERENCES users(account_id, id);

ALTER TABLE ONLY refunds
    ADD CONSTRAINT refunds_order_id_fkey FOREIGN KEY (order_id) REFERENCES payment_orders(order_id);

ALTER TABLE ONLY refunds
    ADD CONSTRAINT refunds_payment_id_fkey FOREIGN KEY (payment_id) REFERENCES payments(id);

ALTER TABLE ONLY teams
    ADD CONSTRAINT teams_account_id_fkey FOREIGN KEY (account_id) REFERENCES accounts(id);

ALTER TABLE ONLY users
    ADD CONSTRAINT users_account_id_fkey FOREIGN KEY (account_id) REFERENCES accounts(id);

ALTER TABLE ONLY users
    ADD CONSTRAINT users_team_of_account FOREIGN KEY (account_id, team_id) REFERENCES teams(account_id, id);

ALTER TABLE ONLY wallet_credits
    ADD CONSTRAINT wallet_credits_account_id_currency_fkey FOREIGN KEY (account_id, currency) REFERENCES wallets(account_id, currency);

ALTER TABLE ONLY wallets
    ADD CONSTRAINT wallets_account_id_fkey FOREIGN KEY (account_id) REFERENCES accounts(id);

ALTER TABLE ONLY windows
    ADD CONSTRAINT windows_account_id_fkey FOREIGN KEY (account_id) REFERENCES accounts(id);

ALTER TABLE ONLY windows
    ADD CONSTRAINT windows_assignment_id_fkey FOREIGN KEY (assignment_id) REFERENCES plan_assignments(id);

ALTER TABLE ONLY windows
    ADD CONSTRAINT windows_key_id_fkey FOREIGN KEY (key_id) REFERENCES api_keys(id);

ALTER TABLE ONLY windows
    ADD CONSTRAINT windows_team_of_account FOREIGN KEY (account_id, team_id) REFERENCES teams(account_id, id);

ALTER TABLE ONLY windows
    ADD CONSTRAINT windows_user_of_account FOREIGN KEY (account_id, user_id) REFERENCES users(account_id, id);

GRANT USAGE ON SCHEMA public TO rabbitgw_app;

REVOKE ALL ON FUNCTION app_may(privileges text, object text) FROM PUBLIC;

REVOKE ALL ON FUNCTION books_guard_partition(partition_name text, parent text) FROM PUBLIC;

REVOKE ALL ON FUNCTION books_partitions_ahead(months integer) FROM PUBLIC;
GRANT ALL ON FUNCTION books_partitions_ahead(months integer) TO rabbitgw_app;

REVOKE ALL ON FUNCTION usage_fold(rows_max bigint) FROM PUBLIC;
GRANT ALL ON FUNCTION usage_fold(rows_max bigint) TO rabbitgw_app;

GRANT SELECT,INSERT ON TABLE accounts TO rabbitgw_app;

GRANT UPDATE(name) ON TABLE accounts TO rabbitgw_app;

GRANT USAGE ON SEQUENCE accounts_id_seq TO rabbitgw_app;

GRANT SELECT,INSERT ON TABLE api_keys TO rabbitgw_app;

GRANT UPDATE(name) ON TABLE api_keys TO rabbitgw_app;

GRANT UPDATE(models) ON TABLE api_keys TO rabbitgw_app;

GRANT UPDATE(expires_at) ON TABLE api_keys TO rabbitgw_app;

GRANT UPDATE(revoked_at) ON TABLE api_keys TO rabbitgw_app;

GRANT UPDATE(generation) ON TABLE api_keys TO rabbitgw_app;

GRANT UPDATE(redis_generation) ON TABLE api_keys TO rabbitgw_app;

GRANT UPDATE(models_denied) ON TABLE api_keys TO rabbitgw_app;

GRANT UPDATE(scopes) ON TABLE api_keys TO rabbitgw_app;

GRANT UPDATE(ip_allowlist) ON TABLE api_keys TO rabbitgw_app;

GRANT UPDATE(metadata) ON TABLE api_keys TO rabbitgw_app;

GRANT UPDATE(tags) ON TABLE api_keys TO rabbitgw_app;

GRANT SELECT,INSERT,UPDATE ON TABLE backfills TO rabbitgw_app;

GRANT SELECT,INSERT ON TABLE payment_orders TO rabbitgw_app;

GRANT UPDATE(status) ON TABLE payment_orders TO rabbitgw_app;

GRANT UPDATE(provider_txn_id) ON TABLE payment_orders TO rabbitgw_app;

GRANT UPDATE(payment_id) ON TABLE payment_orders TO rabbitgw_app;

GRANT UPDATE(failure_code) ON TABLE payment_orders TO rabbitgw_app;

GRANT UPDATE(review_reason) ON TABLE payment_orders TO rabbitgw_app;

GRANT UPDATE(reads) ON TABLE payment_orders TO rabbitgw_app;

GRANT UPDATE(applied_read) ON TABLE payment_orders TO rabbitgw_app;

GRANT UPDATE(sent_at) ON TABLE payment_orders TO rabbitgw_app;

GRANT UPDATE(paid_at) ON TABLE payment_orders TO rabbitgw_app;

GRANT UPDATE(changed_at) ON TABLE payment_orders TO rabbitgw_app;

GRANT SELECT,INSERT ON TABLE payments TO rabbitgw_app;

GRANT UPDATE(booked_to) ON TABLE payments TO rabbitgw_app;

GRANT UPDATE(fee_currency) ON TABLE payments TO rabbitgw_app;

GRANT UPDATE(fee_nanos) ON TABLE payments TO rabbitgw_app;

GRANT UPDATE(fee_transaction_id) ON TABLE payments TO rabbitgw_app;

GRANT SELECT,INSERT ON TABLE refunds TO rabbitgw_app;

GRANT UPDATE(provider_refund_id) ON TABLE refunds TO rabbitgw_app;

GRANT UPDATE(state) ON TABLE refunds TO rabbitgw_app;

GRANT UPDATE(failure) ON TABLE refunds TO rabbitgw_app;

GRANT UPDATE(attempts) ON TABLE refunds TO rabbitgw_app;

GRANT UPDATE(next_try_at) ON TABLE refunds TO rabbitgw_app;

GRANT UPDATE(taken_transaction_id) ON TABLE refunds TO rabbitgw_app;

GRANT UPDATE(paid_transaction_id) ON TABLE refunds TO rabbitgw_app;

GRANT UPDATE(returned_transaction_id) ON TABLE refunds TO rabbitgw_app;

GRANT UPDATE(changed_at) ON TABLE refunds TO rabbitgw_app;

GRANT SELECT ON TABLE billing_history TO rabbitgw_app;

GRANT SELECT,INSERT,UPDATE ON TABLE consumer_cursors TO rabbitgw_app;

GRANT SELECT,INSERT ON TABLE corrections TO rabbitgw_app;

GRANT SELECT,INSERT,UPDATE ON TABLE credit_code_tries TO rabbitgw_app;

GRANT SELECT,INSERT ON TABLE credit_code_uses TO rabbitgw_app;

GRANT UPDATE(state) ON TABLE credit_code_uses TO rabbitgw_app;

GRANT UPDATE(ledger_transaction_id) ON TABLE credit_code_uses TO rabbitgw_app;

GRANT UPDATE(changed_at) ON TABLE credit_code_uses TO rabbitgw_app;

GRANT SELECT,INSERT ON TABLE credit_codes TO rabbitgw_app;

GRANT UPDATE(uses) ON TABLE credit_codes TO rabbitgw_app;

GRANT UPDATE(retired_at) ON TABLE credit_codes TO rabbitgw_app;

GRANT SELECT,INSERT ON TABLE credit_packages TO rabbitgw_app;

GRANT UPDATE(price_minor) ON TABLE credit_packages TO rabbitgw_app;

GRANT UPDATE(nanos_per_credit) ON TABLE credit_packages TO rabbitgw_app;

GRANT UPDATE("position") ON TABLE credit_packages TO rabbitgw_app;

GRANT UPDATE(active) ON TABLE credit_packages TO rabbitgw_app;

GRANT UPDATE(version) ON TABLE credit_packages TO rabbitgw_app;

GRANT UPDATE(changed_at) ON TABLE credit_packages TO rabbitgw_app;

GRANT SELECT,INSERT ON TABLE dead_events TO rabbitgw_app;

GRANT SELECT ON TABLE deployment TO rabbitgw_app;

GRANT UPDATE(epoch) ON TABLE deployment TO rabbitgw_app;

GRANT SELECT,INSERT ON TABLE disputes TO rabbitgw_app;

GRANT UPDATE(status) ON TABLE disputes TO rabbitgw_app;

GRANT UPDATE(reason) ON TABLE disputes TO rabbitgw_app;

GRANT UPDATE(frozen_nanos) ON TABLE disputes TO rabbitgw_app;

GRANT UPDATE(frozen_bonus_nanos) ON TABLE disputes TO rabbitgw_app;

GRANT UPDATE(withdrawn_nanos) ON TABLE disputes TO rabbitgw_app;

GRANT UPDATE(fee_nanos) ON TABLE disputes TO rabbitgw_app;

GRANT UPDATE(changed_at) ON TABLE disputes TO rabbitgw_app;

GRANT SELECT,INSERT ON TABLE idempotency_keys TO rabbitgw_app;

GRANT SELECT,INSERT ON TABLE key_secrets TO rabbitgw_app;

GRANT UPDATE(generation) ON TABLE key_secrets TO rabbitgw_app;

GRANT UPDATE(revoked_at) ON TABLE key_secrets TO rabbitgw_app;

GRANT SELECT,INSERT ON TABLE plan_assignments TO rabbitgw_app;

GRANT UPDATE(effective_to) ON TABLE plan_assignments TO rabbitgw_app;

GRANT SELECT,INSERT ON TABLE rates TO rabbitgw_app;

GRANT UPDATE(rpm) ON TABLE rates TO rabbitgw_app;

GRANT UPDATE(tpm) ON TABLE rates TO rabbitgw_app;

GRANT UPDATE(parallel) ON TABLE rates TO rabbitgw_app;

GRANT UPDATE(removed_at) ON TABLE rates TO rabbitgw_app;

GRANT UPDATE(version) ON TABLE rates TO rabbitgw_app;

GRANT SELECT,INSERT ON TABLE users TO rabbitgw_app;

GRANT UPDATE(name) ON TABLE users TO rabbitgw_app;

GRANT UPDATE(email) ON TABLE users TO rabbitgw_app;

GRANT UPDATE(external_id) ON TABLE users TO rabbitgw_app;

GRANT UPDATE(disabled_at) ON TABLE users TO rabbitgw_app;

GRANT UPDATE(team_id) ON TABLE users TO rabbitgw_app;

GRANT SELECT,INSERT ON TABLE windows TO rabbitgw_app;

GRANT UPDATE(limit_nanos) ON TABLE windows TO rabbitgw_app;

GRANT UPDATE(extra_nanos) ON TABLE windows TO rabbitgw_app;

GRANT UPDATE(extra_until) ON TABLE windows TO rabbitgw_app;

GRANT UPDATE(removed_at) ON TABLE windows TO rabbitgw_app;

GRANT UPDATE(version) ON TABLE windows TO rabbitgw_app;

GRANT SELECT ON TABLE key_records TO rabbitgw_app;

GRANT SELECT,INSERT ON TABLE ledger_entries TO rabbitgw_app;

GRANT USAGE ON SEQUENCE ledger_transaction_ids TO rabbitgw_app;

GRANT SELECT,INSERT ON TABLE ledger_transactions TO rabbitgw_app;

GRANT SELECT,INSERT ON TABLE model_rules TO rabbitgw_app;

GRANT UPDATE(allow) ON TABLE model_rules TO rabbitgw_app;

GRANT UPDATE(deny) ON TABLE model_rules TO rabbitgw_app;

GRANT UPDATE(version) ON TABLE model_rules TO rabbitgw_app;

GRANT UPDATE(removed_at) ON TABLE model_rules TO rabbitgw_app;

GRANT SELECT,INSERT ON TABLE plan_cycles TO rabbitgw_app;

GRANT UPDATE(ended_at) ON TABLE plan_cycles TO rabbitgw_app;

GRANT UPDATE(due_nanos) ON TABLE plan_cycles TO rabbitgw_app;

GRANT UPDATE(spent_nanos) ON TABLE plan_cycles TO rabbitgw_app;

GRANT UPDATE(true_up_nanos) ON TABLE plan_cycles TO rabbitgw_app;

GRANT UPDATE(true_up_transaction_id) ON TABLE plan_cycles TO rabbitgw_app;

GRANT UPDATE(closed_at) ON TABLE plan_cycles TO rabbitgw_app;

GRANT SELECT,INSERT,UPDATE ON TABLE plan_daily_limits TO rabbitgw_app;

GRANT USAGE ON SEQUENCE plan_revisions TO rabbitgw_app;

GRANT SELECT,INSERT ON TABLE plan_usage TO rabbitgw_app;

GRANT UPDATE(commit_nanos) ON TABLE plan_usage TO rabbitgw_app;

GRANT UPDATE(grant_nanos) ON TABLE plan_usage TO rabbitgw_app;

GRANT UPDATE(tier) ON TABLE plan_usage TO rabbitgw_app;

GRANT UPDATE(included_credits) ON TABLE plan_usage TO rabbitgw_app;

GRANT UPDATE(price_per_1k) ON TABLE plan_usage TO rabbitgw_app;

GRANT SELECT,INSERT ON TABLE plans TO rabbitgw_app;

GRANT UPDATE(name) ON TABLE plans TO rabbitgw_app;

GRANT UPDATE(revision) ON TABLE plans TO rabbitgw_app;

GRANT UPDATE(archived_at) ON TABLE plans TO rabbitgw_app;

GRANT SELECT,INSERT ON TABLE prices TO rabbitgw_app;

GRANT SELECT,INSERT ON TABLE provider_customers TO rabbitgw_app;

GRANT UPDATE(customer_id) ON TABLE provider_customers TO rabbitgw_app;

GRANT SELECT,INSERT ON TABLE provider_events TO rabbitgw_app;

GRANT UPDATE(deliveries) ON TABLE provider_events TO rabbitgw_app;

GRANT UPDATE(state) ON TABLE provider_events TO rabbitgw_app;

GRANT UPDATE(outcome) ON TABLE provider_events TO rabbitgw_app;

GRANT UPDATE(attempts) ON TABLE provider_events TO rabbitgw_app;

GRANT UPDATE(next_try_at) ON TABLE provider_events TO rabbitgw_app;

GRANT UPDATE(ended_at) ON TABLE provider_events TO rabbitgw_app;

GRANT SELECT,INSERT ON TABLE rerates TO rabbitgw_app;

GRANT UPDATE(last_id) ON TABLE rerates TO rabbitgw_app;

GRANT UPDATE(left_out) ON TABLE rerates TO rabbitgw_app;

GRANT UPDATE(refused) ON TABLE rerates TO rabbitgw_app;

GRANT UPDATE(finished_at) ON TABLE rerates TO rabbitgw_app;

GRANT SELECT ON TABLE schema_migrations TO rabbitgw_app;

GRANT SELECT,INSERT ON TABLE teams TO rabbitgw_app;

GRANT UPDATE(name) ON TABLE teams TO rabbitgw_app;

GRANT SELECT,INSERT,UPDATE ON TABLE usage TO rabbitgw_app;

GRANT SELECT,INSERT,DELETE ON TABLE usage_deltas TO rabbitgw_app;

GRANT SELECT,INSERT,UPDATE ON TABLE usage_rollups TO rabbitgw_app;

GRANT SELECT,INSERT ON TABLE wallet_credits TO rabbitgw_app;

GRANT UPDATE(applied_at) ON TABLE wallet_credits TO rabbitgw_app;

GRANT SELECT,INSERT ON TABLE wallets TO rabbitgw_app;

GRANT UPDATE(balance_nanos) ON TABLE wallets TO rabbitgw_app;

GRANT UPDATE(credit_seq) ON TABLE wallets TO rabbitgw_app;

GRANT UPDATE(worst_nanos) ON TABLE wallets TO rabbitgw_app;

GRANT UPDATE(below_since) ON TABLE wallets TO rabbitgw_app;

GRANT SELECT,INSERT,UPDATE ON TABLE window_spans TO rabbitgw_app;
