-- Does PostgreSQL answer?
-- Returns one row: alive boolean.
SELECT true AS alive
