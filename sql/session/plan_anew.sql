-- Plan each statement of this transaction for the values that it is given, not once for all values.
-- Returns one row that says nothing.
SELECT set_config('plan_cache_mode', 'force_custom_plan', true)
