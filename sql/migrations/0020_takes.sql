-- Money that is taken out of a wallet is set aside in Redis first; the credit that takes it says under which id.
ALTER TABLE wallet_credits ADD COLUMN take_id uuid;
COMMENT ON COLUMN wallet_credits.take_id IS
    'Under which id Redis may have set aside what this credit takes; null where nothing is set aside first.';
CREATE UNIQUE INDEX wallet_credits_once_per_take ON wallet_credits (take_id) WHERE take_id IS NOT NULL;
