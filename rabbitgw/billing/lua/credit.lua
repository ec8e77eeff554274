-- credit: apply one numbered change of a wallet that PostgreSQL has booked, in order and once.
-- Needs: prologue, amounts
--   KEYS  1 epoch  2 account
--   ARGV  1 epoch  2 currency  3 seq, from 1, without gaps
--         4 amount_nanos, may be negative (a refund, a charge booked straight into PostgreSQL)
--   Replies; money is text, sequence numbers are integers
--     {FENCED} {COLD}
--     {OK, balance}      applied; balance is exact at any size
--     {DONE, stored}     applied before: stored >= seq
--     {GAP, stored}      the one before it is missing: send from stored + 1; nothing is written
--   Writes: b:<CUR> and s:<CUR>. Passes when memory is full: money that was paid in is not kept waiting for it.
--   Example: s 4, balance 1000; (5, '-300') -> {OK, '700'}; the same again -> {DONE, 5}; (7, '1') -> {GAP, 5}
local account = KEYS[2]
local b_field, s_field = 'b:' .. ARGV[2], 's:' .. ARGV[2]
local seq = nanos(ARGV[3], 'seq')
local amount = signed_nanos(ARGV[4], 'amount_nanos')
if #KEYS ~= 2 or #ARGV ~= 4 or seq < 1 then error('BADARG credit: arguments do not fit', 0) end

-- Read.
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return {'FENCED'} end
local values = redis.call('HMGET', account, b_field, s_field)
if not values[1] and redis.call('EXISTS', account) == 0 then return {'COLD'} end

-- Check.
local stored = tonumber(values[2] or '0')
if seq <= stored then return {'DONE', stored} end
if seq > stored + 1 then return {'GAP', stored} end
if math.abs((values[1] or 0) + amount) > SUM_MAX then
  error('RANGE ' .. b_field .. ' would leave what can be counted: ' .. tostring(values[1]), 0)
end

-- Write.
redis.call('HDEL', account, s_field)
redis.call('HSET', account, s_field, ARGV[3])
local balance = redis.call('HINCRBY', account, b_field, ARGV[4])
if balance < 0 and tonumber(values[1] or '0') >= 0 then redis.call('HSET', account, 'z:' .. ARGV[2], shown(now_ms)) end
return {'OK', redis.call('HGET', account, b_field)}
