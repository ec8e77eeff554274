-- What calls were charged that no hold can bound beforehand, in whole: the account with the most of each class.
-- Returns tools bigint (the provider ran tools of its own), estimated bigint (not streamed, and no usage was stated,
-- so that the estimate may pass the output limit): one row.
SELECT coalesce(max(tools_nanos), 0)::bigint AS tools, coalesce(max(estimated_nanos), 0)::bigint AS estimated
FROM (
    SELECT sum(charge_nanos) FILTER (WHERE tools IS NOT NULL) AS tools_nanos,
        sum(charge_nanos) FILTER (WHERE NOT streamed AND usage_source = 'estimated') AS estimated_nanos
    FROM usage
    GROUP BY account_id
) AS per_account
