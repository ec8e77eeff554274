-- Corrections in reports: what a correction moves is a change of what its call cost, in the call's own quarter hour.

CREATE FUNCTION corrections_write_deltas() RETURNS trigger
LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO usage_deltas
    SELECT u.account_id, uuid7_quarter(u.id), u.currency, coalesce(u.model, ''), coalesce(u.key_id, 0),
        coalesce(u.user_id, 0), coalesce(u.team_id, 0), 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, n.new_nanos - n.old_nanos
    FROM new_rows AS n
    JOIN usage AS u ON u.id = n.usage_id
    WHERE n.new_nanos <> n.old_nanos;
    RETURN NULL;
END
$$;
COMMENT ON FUNCTION corrections_write_deltas() IS 'Leaves what corrections move, for usage_fold to add up.';

CREATE TRIGGER write_deltas_of_insert AFTER INSERT ON corrections
    REFERENCING NEW TABLE AS new_rows
    FOR EACH STATEMENT EXECUTE FUNCTION corrections_write_deltas();

INSERT INTO usage_deltas
SELECT u.account_id, uuid7_quarter(u.id), u.currency, coalesce(u.model, ''), coalesce(u.key_id, 0),
    coalesce(u.user_id, 0), coalesce(u.team_id, 0), 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, n.new_nanos - n.old_nanos
FROM corrections AS n
JOIN usage AS u ON u.id = n.usage_id
WHERE n.new_nanos <> n.old_nanos;
