-- The currencies that accounts are billed in.
-- Returns currency text: zero or more rows.
SELECT DISTINCT currency FROM accounts ORDER BY currency
