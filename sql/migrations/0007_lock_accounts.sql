-- The application may lock an account's row while it changes what stands above the keys of the account. Who may lock
-- must be allowed to change a column.
SELECT app_may('UPDATE (name)', 'accounts');
