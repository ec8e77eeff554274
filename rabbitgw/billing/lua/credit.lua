-- credit: apply one numbered change of a wallet that PostgreSQL has booked, in order and once.
-- Needs: prologue, amounts
--   KEYS  1 epoch  2 account
--   ARGV  1 epoch  2 currency  3 seq, from 1, without gaps
--         4 amount_nanos, may be negative (a refund, a charge booked straight into PostgreSQL)
--         5 take_id, of a credit that takes what set_aside.lua may keep under it; else left out
--   Replies; money is text, sequence numbers are integers
--     {FENCED} {COLD}
--     {OK, balance}      applied; balance is exact at any size
--     {DONE, stored}     applied before: stored >= seq
--     {GAP, stored}      the one before it is missing: send from stored + 1; nothing is written
--   Writes: b:<CUR> and s:<CUR>; of a take also h:<CUR>, which falls by what is set aside, and a:<CUR>:<take_id>, which
--   goes: what is available falls once. An account that was loaded since has neither, nor has one that was overdrawn on
--   purpose. Passes when memory is full: money that was paid in is not kept waiting for it.
--   Example: s 4, balance 1000; (5, '-300') -> {OK, '700'}; the same again -> {DONE, 5}; (7, '1') -> {GAP, 5};
--   and with 200 of held 200 set aside under a take_id, (6, '-200', take_id) -> {OK, '500'}, held 0
local account = KEYS[2]
local b_field, s_field = 'b:' .. ARGV[2], 's:' .. ARGV[2]
local seq = nanos(ARGV[3], 'seq')
local amount = signed_nanos(ARGV[4], 'amount_nanos')
local take_id = ARGV[5]
if #KEYS ~= 2 or #ARGV ~= 4 and #ARGV ~= 5 or seq < 1 or take_id and not string.find(take_id, '^[%x%-]+$') then
  error('BADARG credit: arguments do not fit', 0)
end
local a_field = 'a:' .. ARGV[2] .. ':' .. (take_id or '')

-- Read.
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return {'FENCED'} end
local values = redis.call('HMGET', account, b_field, s_field, a_field)
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
if values[3] then
  redis.call('HDEL', account, a_field)
  redis.call('HINCRBY', account, 'h:' .. ARGV[2], difference('0', values[3]))
end
local balance = redis.call('HINCRBY', account, b_field, ARGV[4])
if balance < 0 and tonumber(values[1] or '0') >= 0 then redis.call('HSET', account, 'z:' .. ARGV[2], shown(now_ms)) end
return {'OK', redis.call('HGET', account, b_field)}
