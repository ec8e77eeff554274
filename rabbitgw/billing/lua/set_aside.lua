-- set_aside: keep money of a wallet from its calls, until the negative credit that takes it is applied.
-- Needs: amounts
--   KEYS  1 epoch  2 account  3 mark of this take
--   ARGV  1 epoch  2 currency  3 take_id (a UUID, ours)  4 amount_nanos, at least 1
--         5 seq: the number of the wallet's last credit in PostgreSQL, read under the lock of its row
--   Replies; money is text and exact at any size, sequence numbers are integers
--     {FENCED}
--     {GONE}               it was put back: this id takes nothing any more
--     {COLD}
--     {HELD, available}    it is set aside already, by an earlier try
--     {STALE, stored}      a later credit than seq is applied, this take's own or one behind it: a try that comes late
--     {GAP, stored}        credits up to seq are missing: apply them first
--     {SHORT, available}   available < amount
--     {OK, available}      set aside now; available is what is left
--   Only OK writes: h:<CUR> rises, a:<CUR>:<take_id> keeps the amount. credit.lua with this take_id drops both, and
--   put_back.lua gives both back. Refused when memory is full: what is only begun can wait.
--   Example: balance 1000, held 300, s 4; (400, 4) -> {OK, '300'}; the same again -> {HELD, '300'}; another of 400 ->
--   {SHORT, '300'}; (1, 5) -> {GAP, 4}; and when credit 5 has taken it, the first again -> {STALE, 5}
local account, take_id = KEYS[2], ARGV[3]
local b_field, h_field, s_field = 'b:' .. ARGV[2], 'h:' .. ARGV[2], 's:' .. ARGV[2]
local a_field = 'a:' .. ARGV[2] .. ':' .. take_id
local amount, seq = nanos(ARGV[4], 'amount_nanos'), nanos(ARGV[5], 'seq')
if #KEYS ~= 3 or #ARGV ~= 5 or amount < 1 or not string.find(take_id, '^[%x%-]+$') then
  error('BADARG set_aside: arguments do not fit', 0)
end

-- Read.
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return {'FENCED'} end
if redis.call('EXISTS', KEYS[3]) == 1 then return {'GONE'} end
local values = redis.call('HMGET', account, b_field, h_field, s_field, a_field)
if not values[1] and redis.call('EXISTS', account) == 0 then return {'COLD'} end
local balance, held = values[1] or '0', values[2] or '0'
local available
if string.byte(balance) == 45 then
  available = difference('0', total(string.sub(balance, 2), held))
else
  available = difference(balance, held)
end

-- Check.
if values[4] then
  if values[4] ~= ARGV[4] then error('BADARG set_aside: ' .. a_field .. ' is of ' .. values[4] .. ' nanos', 0) end
  return {'HELD', available}
end
local stored = tonumber(values[3] or '0')
if stored > seq then return {'STALE', stored} end
if stored < seq then return {'GAP', stored} end
if string.byte(available) == 45 then return {'SHORT', available} end
local left = difference(available, ARGV[4])
if string.byte(left) == 45 then return {'SHORT', available} end

-- Write.
redis.call('HINCRBY', account, h_field, ARGV[4])
redis.call('HSET', account, a_field, ARGV[4])
return {'OK', left}
