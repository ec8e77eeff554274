-- Give up the leases of a consumer that stops.
-- $1 lease_owner text
UPDATE consumer_cursors SET lease_owner = NULL, lease_until = NULL WHERE lease_owner = $1
