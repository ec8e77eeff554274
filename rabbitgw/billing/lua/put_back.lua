-- put_back: give back what set_aside.lua keeps for a take that is given up, once and for good.
-- Needs: amounts
--   KEYS  1 epoch  2 account  3 mark of this take
--   ARGV  1 epoch  2 currency  3 take_id
--   Replies; money is text
--     {FENCED}
--     {OK, amount}    set aside before, free now
--     {GONE}          nothing is set aside under this id
--   Writes: h:<CUR> falls by the amount, a:<CUR>:<take_id> goes. In either case the mark R is left for 15 minutes, so
--   that a set_aside of this id that is still under way answers GONE when it comes. The account is not asked for: it
--   may be loaded before that. Passes when memory is full.
--   Example: balance 1000, held 400 by this take -> {OK, '400'}, held 0; again -> {GONE}
local MARK_LIFE_MS = 900000 -- 15 minutes, as of the mark of a hold: longer than any command stays under way
local account = KEYS[2]
local a_field = 'a:' .. ARGV[2] .. ':' .. (ARGV[3] or '')
if #KEYS ~= 3 or #ARGV ~= 3 or not string.find(ARGV[3], '^[%x%-]+$') then
  error('BADARG put_back: arguments do not fit', 0)
end

-- Read.
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return {'FENCED'} end
local amount = redis.call('HGET', account, a_field)

-- Write.
redis.call('HDEL', account, a_field)
redis.call('SET', KEYS[3], 'R', 'PX', MARK_LIFE_MS)
if not amount then return {'GONE'} end
redis.call('HINCRBY', account, 'h:' .. ARGV[2], difference('0', amount))
return {'OK', amount}
