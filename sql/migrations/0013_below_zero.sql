-- Since when a wallet is below zero is kept where its balance is: the ledger of a busy wallet is too long to look back.
ALTER TABLE wallets ADD COLUMN below_since timestamptz;
COMMENT ON COLUMN wallets.below_since IS 'When the balance, as booked, went below zero; null while it is not.';

CREATE FUNCTION wallets_pass_zero() RETURNS trigger
LANGUAGE plpgsql AS $$
BEGIN
    NEW.below_since := CASE WHEN NEW.balance_nanos < 0 THEN now() END;
    RETURN NEW;
END
$$;
COMMENT ON FUNCTION wallets_pass_zero() IS 'Notes when a wallet goes below zero, and forgets it when it is back.';

CREATE FUNCTION wallets_begin_below_zero() RETURNS trigger
LANGUAGE plpgsql AS $$
BEGIN
    UPDATE wallets SET below_since = now() WHERE account_id = NEW.account_id AND currency = NEW.currency;
    RETURN NULL;
END
$$;
COMMENT ON FUNCTION wallets_begin_below_zero() IS 'Notes it of a wallet that is made below zero.';
SELECT app_may('UPDATE (below_since)', 'wallets');

-- The first movement behind the last moment at which the balance was not negative.
UPDATE wallets AS w
SET below_since = (
    SELECT min(created_at) FILTER (WHERE above IS NULL OR transaction_id > above)
    FROM (
        SELECT transaction_id, created_at, max(transaction_id) FILTER (WHERE after_nanos >= 0) OVER () AS above
        FROM (
            SELECT transaction_id, created_at,
                sum(amount_nanos) OVER (ORDER BY transaction_id ROWS UNBOUNDED PRECEDING) AS after_nanos
            FROM (
                SELECT transaction_id, min(created_at) AS created_at, sum(amount_nanos) AS amount_nanos
                FROM ledger_entries
                WHERE account_id = w.account_id AND currency = w.currency
                GROUP BY transaction_id
            ) AS movements
        ) AS balances
    ) AS marked
)
WHERE balance_nanos < 0;

CREATE TRIGGER pass_zero BEFORE UPDATE ON wallets
    FOR EACH ROW WHEN ((OLD.balance_nanos < 0) <> (NEW.balance_nanos < 0)) EXECUTE FUNCTION wallets_pass_zero();
-- Not before the insert: a booking offers each wallet as a new one, and adds to the one that is there.
CREATE TRIGGER begin_below_zero AFTER INSERT ON wallets
    FOR EACH ROW WHEN (NEW.balance_nanos < 0) EXECUTE FUNCTION wallets_begin_below_zero();
