-- A payment that was in clearing is the wallet's now.
-- $1 id bigint
UPDATE payments SET booked_to = 'wallet' WHERE id = $1
