-- key_put: tell an account the generation of one of its keys; reserves with any other answer STALE from now on.
-- Needs: amounts
--   KEYS  1 epoch  2 account
--   ARGV  1 epoch  2 key_id  3 generation
--   Replies {FENCED}, {COLD} (load will bring it), {OK}, {DONE} (this generation or a newer one is there)
--   Generations only grow, so that a message that comes late cannot bring a revoked key back.
--   Passes when memory is full: a revocation must.
--   Example: g:7 = 1; (7, 2) -> {OK}; (7, 1) -> {DONE}
local account, field = KEYS[2], 'g:' .. ARGV[2]
local generation = nanos(ARGV[3], 'generation')
if #KEYS ~= 2 or #ARGV ~= 3 then error('BADARG key_put: arguments do not fit', 0) end

-- Read and check.
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return {'FENCED'} end
if redis.call('EXISTS', account) == 0 then return {'COLD'} end
local stored = redis.call('HGET', account, field)
if stored and tonumber(stored) >= generation then return {'DONE'} end

-- Write.
redis.call('HDEL', account, field)
redis.call('HSET', account, field, ARGV[3])
return {'OK'}
