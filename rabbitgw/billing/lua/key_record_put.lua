-- key_record_put: keep a compiled key record, so that a restart without PostgreSQL still knows its keys.
-- Needs: amounts
--   KEYS  1 key record, in a slot of its own: no epoch key is there to be asked; its name carries the epoch
--   ARGV  1 generation  2 record (JSON)
--   Stored as "<generation> <record>".
--   Replies {OK}, {DONE} (this generation or a newer one is there)
--   When memory is full a new record is refused, one in place of an older generation passes (DEL goes first).
--   Example: absent, (1, '{"a":1}') -> {OK}, stored '1 {"a":1}'; (1, '{}') -> {DONE}; (2, '{}') -> {OK}
local generation = nanos(ARGV[1], 'generation')
if #KEYS ~= 1 or #ARGV ~= 2 then error('BADARG key_record_put: arguments do not fit', 0) end

-- Read and check.
local stored = redis.call('GET', KEYS[1])
if stored and (tonumber(string.match(stored, '^%d+')) or 0) >= generation then return {'DONE'} end

-- Write.
if stored then redis.call('DEL', KEYS[1]) end
redis.call('SET', KEYS[1], ARGV[1] .. ' ' .. ARGV[2])
return {'OK'}
