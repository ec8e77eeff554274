-- What calls were charged and what they cost upstream, summed from rollups and from the changes that are not in them yet, in one moment.
-- Planned anew each time (session/plan_anew.sql): what is null or false is then no part of the plan.
-- $1 account_id bigint (0: all accounts)   $2 scope smallint (as usage_rollups has it)
-- $3 key_id bigint or null   $4 user_id bigint or null   $5 team_id bigint or null
-- $6 bounds integer[]: quarter hours at which the spans begin, and the last one ends
-- $7 split integer[]: the thirds of days that a bound cuts in two, of which quarter hours are read
-- $8 by_span boolean   $9 by_model boolean   $10 by_key boolean   $11 by_user boolean   $12 by_team boolean
-- $13 rows_max integer
-- Returns span (1 for the first), currency, model, key_id, user_id, team_id, calls, costed_calls (of which upstream
-- said what they cost), charge_nanos, costed_charge_nanos (of those), upstream_cost_nanos: a row per group that has
-- any; what is not grouped by is null.
WITH parts AS (
    SELECT quarter, currency, model, key_id, user_id, team_id, calls, costed_calls, charge_nanos, costed_charge_nanos,
        upstream_cost_nanos
    FROM usage_rollups
    WHERE account_id = $1 AND scope = $2 AND grain = 32
        AND quarter >= ($6::integer[])[1] AND quarter < ($6::integer[])[array_upper($6::integer[], 1)] AND quarter <> ALL ($7::integer[])
        AND ($3::bigint IS NULL OR key_id = $3)
        AND ($4::bigint IS NULL OR user_id = $4)
        AND ($5::bigint IS NULL OR team_id = $5)
    UNION ALL
    SELECT r.*
    FROM unnest($7::integer[]) AS s (third)
    CROSS JOIN LATERAL (
        SELECT quarter, currency, model, key_id, user_id, team_id, calls, costed_calls, charge_nanos, costed_charge_nanos,
        upstream_cost_nanos
        FROM usage_rollups
        WHERE account_id = $1 AND scope = $2 AND grain = 1 AND quarter >= s.third AND quarter < s.third + 32
            AND quarter >= ($6::integer[])[1] AND quarter < ($6::integer[])[array_upper($6::integer[], 1)]
            AND ($3::bigint IS NULL OR key_id = $3)
            AND ($4::bigint IS NULL OR user_id = $4)
            AND ($5::bigint IS NULL OR team_id = $5)
        OFFSET 0 -- a walk of the index per third; joined, each row of a year was held against each third
    ) AS r
    UNION ALL
    SELECT quarter, currency, model, key_id, user_id, team_id, calls, costed_calls, charge_nanos, costed_charge_nanos,
        upstream_cost_nanos
    FROM usage_deltas
    WHERE ($1 = 0 OR account_id = $1)
        AND quarter >= ($6::integer[])[1] AND quarter < ($6::integer[])[array_upper($6::integer[], 1)]
        AND ($3::bigint IS NULL OR key_id = $3)
        AND ($4::bigint IS NULL OR user_id = $4)
        AND ($5::bigint IS NULL OR team_id = $5)
)
SELECT
    CASE WHEN $8::boolean THEN width_bucket(quarter, $6::integer[]) END AS span,
    currency,
    CASE WHEN $9::boolean THEN model END AS model,
    CASE WHEN $10::boolean THEN key_id END AS key_id,
    CASE WHEN $11::boolean THEN user_id END AS user_id,
    CASE WHEN $12::boolean THEN team_id END AS team_id,
    sum(calls) AS calls,
    sum(costed_calls) AS costed_calls,
    sum(charge_nanos) AS charge_nanos,
    sum(costed_charge_nanos) AS costed_charge_nanos,
    sum(upstream_cost_nanos) AS upstream_cost_nanos
FROM parts
GROUP BY 1, 2, 3, 4, 5, 6
HAVING sum(calls) <> 0 OR sum(charge_nanos) <> 0
ORDER BY 1, 2, 3, 4, 5, 6
LIMIT $13
