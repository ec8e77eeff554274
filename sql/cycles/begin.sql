-- A cycle begins.
-- $1 assignment_id bigint   $2 number integer   $3 account_id bigint   $4 currency text   $5 starts_at timestamptz
-- $6 ends_at timestamptz   $7 grant_nanos bigint   $8 grant_transaction_id bigint or null   $9 commit_nanos bigint
INSERT INTO plan_cycles (
    assignment_id, number, account_id, currency, starts_at, ends_at, grant_nanos, grant_transaction_id, commit_nanos
)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)
