-- What is sold, and for how much: versions of prices, only ever added.

CREATE TABLE prices (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    pattern text NOT NULL CHECK (length(pattern) BETWEEN 1 AND 256),
    currency text NOT NULL CHECK (currency ~ '^[A-Z]{3}$'),
    effective_from timestamptz NOT NULL,
    sold boolean NOT NULL DEFAULT true,
    origin text NOT NULL CHECK (origin IN ('set', 'import')),
    terms jsonb NOT NULL CHECK (jsonb_typeof(terms) = 'object'),
    created_at timestamptz NOT NULL DEFAULT clock_timestamp()
);
COMMENT ON TABLE prices IS
    'Versions of prices. Of one pattern and currency the newest that is in effect holds; none is ever changed.';
COMMENT ON COLUMN prices.pattern IS 'A model''s exact name, or a pattern (fnmatch); the longest that fits holds.';
COMMENT ON COLUMN prices.sold IS 'False: from here on the models of this pattern are not sold.';
COMMENT ON COLUMN prices.terms IS
    'Rates in nanos per million tokens, per tier and context size, units, token limits: rabbitgw/billing/price_terms.py.';
CREATE INDEX prices_newest ON prices (pattern, currency, effective_from DESC, id DESC);
CREATE INDEX prices_effective ON prices (effective_from);

-- Whoever looks for "versions after the last one seen" must not miss one that committed late with a lower id:
-- writers take turns, so that ids and times grow in the order of commits.
CREATE FUNCTION prices_take_turns() RETURNS trigger
LANGUAGE plpgsql AS $$
BEGIN
    PERFORM pg_advisory_xact_lock(hashtext('rabbitgw.prices'));
    RETURN NULL;
END
$$;
CREATE TRIGGER prices_take_turns BEFORE INSERT ON prices
    FOR EACH STATEMENT EXECUTE FUNCTION prices_take_turns();

-- A price may be announced ahead; it can never hold for a time that has passed.
CREATE FUNCTION prices_never_back_dated() RETURNS trigger
LANGUAGE plpgsql AS $$
BEGIN
    NEW.effective_from := greatest(NEW.effective_from, clock_timestamp());
    RETURN NEW;
END
$$;
CREATE TRIGGER prices_never_back_dated BEFORE INSERT ON prices
    FOR EACH ROW EXECUTE FUNCTION prices_never_back_dated();

CREATE FUNCTION prices_append_only() RETURNS trigger
LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'prices are append-only: % refused; insert a new version', TG_OP
        USING ERRCODE = 'restrict_violation';
END
$$;
CREATE TRIGGER prices_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON prices
    FOR EACH STATEMENT EXECUTE FUNCTION prices_append_only();

SELECT app_may('SELECT, INSERT', 'prices');
