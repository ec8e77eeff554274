-- Spend windows say upon which version a change of them is made, as keys, plans, rates and model rules do.
ALTER TABLE windows ADD COLUMN version bigint NOT NULL DEFAULT 1;
COMMENT ON COLUMN windows.version IS 'Raised by every change; its ETag.';
SELECT app_may('UPDATE (version)', 'windows');
