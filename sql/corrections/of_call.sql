-- The corrections of a call, in their order.
-- $1 usage_id uuid
-- Returns rerate_id, old_version, new_version, old_nanos, new_nanos, created_at: zero or more rows.
SELECT rerate_id, old_version, new_version, old_nanos, new_nanos, created_at
FROM corrections
WHERE usage_id = $1
ORDER BY number
