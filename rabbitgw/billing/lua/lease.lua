-- lease: a worker says that it lives, so that the sweeper leaves its holds alone.
-- Needs: prologue, amounts
--   KEYS  1 epoch  2 leases
--   ARGV  1 epoch  2 worker_id  3 ttl_ms, 0 = the worker gives its lease up
--   Replies {FENCED}, {OK, now_ms, previous_expiry_ms}; previous is 0 when there was none. A worker that sees a
--   previous lease on its first call shares its id with another one.
--   Passes when memory is full: otherwise the sweeper would end the holds of workers that live.
--   A lease that ran out says no more than one that is absent; past LEASES_KEPT they are swept out here.
--   Example: at 1000, ('w1', 5000) -> {OK, 1000, 0}; at 2000 -> {OK, 2000, 6000}; ('w1', 0) -> {OK, 2000, 7000}
local LEASES_KEPT = 256
local leases, worker_id = KEYS[2], ARGV[2]
local ttl_ms = nanos(ARGV[3], 'ttl_ms')
if #KEYS ~= 2 or #ARGV ~= 3 then error('BADARG lease: arguments do not fit', 0) end

-- Read.
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return {'FENCED'} end
local previous = redis.call('HGET', leases, worker_id)
local over = {}
if redis.call('HLEN', leases) > LEASES_KEPT then
  local all = redis.call('HGETALL', leases)
  for i = 1, #all, 2 do
    if tonumber(all[i + 1]) <= now_ms then over[#over + 1] = all[i] end
  end
end

-- Write.
redis.call('HDEL', leases, worker_id)
for i = 1, #over do redis.call('HDEL', leases, over[i]) end
if ttl_ms > 0 then redis.call('HSET', leases, worker_id, shown(now_ms + ttl_ms)) end
return {'OK', now_ms, tonumber(previous or '0')}
