-- Accounts whose calls, with their corrections, are not what the rollups and the changes that wait for them say, in any of their six forms.
-- $1 rows_max integer
-- Returns account_id (0: all together), currency, form ("scope/grain"), expected_calls, expected_nanos, found_calls,
-- found_nanos: zero or more rows.
WITH used AS (
    SELECT account_id, currency, sum(calls) AS calls, sum(nanos) AS nanos
    FROM (
        SELECT account_id, currency, count(*) AS calls, sum(charge_nanos) AS nanos
        FROM usage
        GROUP BY account_id, currency
        UNION ALL
        SELECT account_id, currency, 0, sum(new_nanos - old_nanos)
        FROM corrections
        GROUP BY account_id, currency
    ) AS booked
    GROUP BY account_id, currency
),
waiting AS (
    SELECT account_id, currency, sum(calls + released_calls) AS calls, sum(charge_nanos) AS nanos
    FROM usage_deltas
    GROUP BY account_id, currency
),
expected AS (
    SELECT CASE WHEN s.scope > 0 THEN account_id ELSE 0 END AS account_id, currency, s.scope, g.grain,
        sum(coalesce(u.calls, 0) - coalesce(w.calls, 0)) AS calls,
        sum(coalesce(u.nanos, 0) - coalesce(w.nanos, 0)) AS nanos
    FROM used AS u
    FULL JOIN waiting AS w USING (account_id, currency)
    CROSS JOIN unnest('{0,1,2}'::smallint[]) AS s (scope)
    CROSS JOIN unnest('{1,32}'::smallint[]) AS g (grain)
    GROUP BY 1, 2, 3, 4
),
found AS (
    SELECT account_id, currency, scope, grain, sum(calls + released_calls) AS calls, sum(charge_nanos) AS nanos
    FROM usage_rollups
    GROUP BY account_id, currency, scope, grain
)
SELECT account_id, currency, scope || '/' || grain AS form, coalesce(e.calls, 0) AS expected_calls,
    coalesce(e.nanos, 0) AS expected_nanos, coalesce(f.calls, 0) AS found_calls, coalesce(f.nanos, 0) AS found_nanos
FROM expected AS e
FULL JOIN found AS f USING (account_id, currency, scope, grain)
WHERE coalesce(e.calls, 0) <> coalesce(f.calls, 0) OR coalesce(e.nanos, 0) <> coalesce(f.nanos, 0)
ORDER BY account_id, currency, form
LIMIT $1
