-- release: give a hold back on purpose; nothing is charged.
-- Needs: amounts, holds, ends
--   KEYS  1 epoch  2 account  3 holds  4 mark of this hold  5 events
--   ARGV  1 epoch  2 hold_id  3 account_id  4 currency  5 payload (JSON, goes to the event as it is)
--   Replies; money is text
--     {FENCED} {COLD}
--     {OK, available}    held before, free now
--     {TOMBSTONE}        no hold and no mark: the mark is left, so that the reserve, should it come later,
--                        answers DONE. The account is not asked for: it may be loaded before that reserve comes
--     {DONE}             it had ended before; nothing is written
--   Writes: h:<CUR> and the counters that exist fall by the hold, the mark R, one event with charge 0 (none for a
--   tombstone). Of rates the place among parallel calls and the tokens are given back. Passes when memory is full.
--   Example: balance 1000, held 300 by this hold -> {OK, '1000'}; again -> {DONE};
--   an id never reserved -> {TOMBSTONE}
local hold_id, account_id, currency, payload = ARGV[2], ARGV[3], ARGV[4], ARGV[5]
if #KEYS ~= 5 or #ARGV ~= 5 then error('BADARG release: arguments do not fit', 0) end

-- Read.
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return {'FENCED'} end
local packed = redis.call('HGET', KEYS[3], hold_id)
if not packed then
  if redis.call('EXISTS', KEYS[4]) == 1 then return {'DONE'} end
  redis.call('HDEL', KEYS[3], hold_id)
  redis.call('SET', KEYS[4], 'R', 'PX', MARK_LIFE_MS)
  return {'TOMBSTONE'}
end
local owner, held_currency, amount, windows, rates = payer_of(packed)
local parts = parts_of(windows, amount)
share_out(parts, 'paid', '0')
share_out(parts, 'charge', '0')
local fields, values = read_account(currency, parts)
if not fields then return {'COLD'} end

-- Check.
if owner ~= account_id or held_currency ~= currency then
  error('BADARG hold ' .. hold_id .. ' is of account ' .. owner .. ' in ' .. held_currency, 0)
end
check_sums(fields, values, parts, true)

-- Write.
local available = move_money(hold_id, fields, values, parts, true)
if rates ~= '' then give_rates_back(rates, 0) end
emit(hold_id, 'R', 'released', parts, account_id, currency, payload)
return {'OK', available}
