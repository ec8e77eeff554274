-- expire: end a hold that nobody looks after any more; what its stream is known to have delivered is charged.
-- Needs: prologue, amounts, holds, ends
--   KEYS  1 epoch  2 account  3 holds  4 mark of this hold  5 events  6 leases
--   ARGV  1 epoch  2 hold_id  3 account_id
--   Whether it may end is decided here and not by the sweeper, whose list is old by the time it calls: the
--   lease of the hold's worker has run out or is not there, or the hold is past its own maximum age.
--   Replies; money is text
--     {FENCED} {COLD}
--     {OK, charged}     ended; charged is the delivered part, '0' when none was noted
--     {ALIVE}           its worker lives, and it is not too old; nothing is written
--     {GONE}            no such hold; nothing is written
--   Writes: h:<CUR> falls by the hold, b:<CUR> by what was delivered, counters that exist change by the
--   difference; the mark E keeps the charge and the hold, for a late settle; one event with the ticket as payload. Of rates the place among
--   parallel calls is given back; the tokens stay taken, since nobody knows what it used.
--   Passes when memory is full.
--   Example: balance 1000, held 300 by this hold, 50 delivered, lease over -> {OK, '50'}, balance 950, held 0
local hold_id, account_id = ARGV[2], ARGV[3]
if #KEYS ~= 6 or #ARGV ~= 3 then error('BADARG expire: arguments do not fit', 0) end

-- Read.
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return {'FENCED'} end
local packed = redis.call('HGET', KEYS[3], hold_id)
if not packed then
  if redis.call('EXISTS', KEYS[2]) == 0 then return {'COLD'} end
  return {'GONE'}
end
local owner, currency, amount, delivered, worker_id, _, max_at_ms, windows, _, rates, ticket = unpack_hold(packed)
local parts = parts_of(windows, amount)
share_out(parts, 'paid', '0')
share_out(parts, 'charge', delivered)
local fields, values = read_account(currency, parts)
if not fields then return {'COLD'} end
local lease = redis.call('HGET', KEYS[6], worker_id)

-- Check.
if owner ~= account_id then error('BADARG hold ' .. hold_id .. ' is of account ' .. owner, 0) end
if lease and now_ms < tonumber(lease) and now_ms < tonumber(max_at_ms) then return {'ALIVE'} end
check_sums(fields, values, parts, true)

-- Write.
move_money(hold_id, fields, values, parts, true)
if rates ~= '' then give_rates_back(rates, nil) end
local mark = 'E\31' .. delivered .. '\31' .. packed
emit(hold_id, mark, 'expired', parts, account_id, currency, ticket)
return {'OK', delivered}
