-- Make the monthly partitions that are missing, from this month on.
-- $1 months ahead integer
-- Returns partition_name, problem (null: it was made): a row per partition that was missing.
SELECT partition_name, problem FROM books_partitions_ahead($1)
