-- Tables and partitions of the ledger, and corrections, that lack a trigger which keeps them append only and balanced,
-- or have it off.
-- Returns relation, missing: zero or more rows.
SELECT c.relname AS relation, g.tgname AS missing
FROM pg_class AS c
JOIN (
    VALUES ('ledger_transactions', 'refuse_change'), ('ledger_transactions', 'refuse_truncate'),
        ('ledger_entries', 'refuse_change'), ('ledger_entries', 'refuse_truncate'),
        ('ledger_entries', 'refuse_imbalance'),
        ('corrections', 'refuse_change'), ('corrections', 'refuse_truncate')
) AS g (parent, tgname) ON c.oid = g.parent::regclass
    OR c.oid IN (SELECT inhrelid FROM pg_inherits WHERE inhparent = g.parent::regclass)
WHERE NOT EXISTS (
    SELECT FROM pg_trigger AS t
    WHERE t.tgrelid = c.oid AND t.tgname = g.tgname AND t.tgenabled IN ('O', 'A')
)
ORDER BY 1, 2
