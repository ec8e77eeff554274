-- settle: turn a hold into a charge of the true cost, and tell the books, once.
-- Needs: prologue, amounts, holds, ends
--   KEYS  1 epoch  2 account  3 holds  4 mark of this hold  5 events
--   ARGV  1 epoch  2 hold_id  3 account_id  4 currency  5 cost_nanos, may exceed the hold
--         6 first_try_ms: when this settle was first sent, by Redis' clock; 0 = this is the first try
--         7 status (settled | partial)  8 payload (JSON, goes to the event as it is)
--         9 tokens that the call used in truth, input and output; for a call under a token rate, else left out
--   Replies; money is text
--     {FENCED}
--     {OK, available, now_ms}       held before, charged now; available may be negative
--     {LATE, available, now_ms}     it had expired: charged the cost less what expiry charged (given back, if that
--                                   is negative), to the wallet and the windows of admission
--     {DONE} {RELEASED}             it had ended so before; nothing is written
--     {OLD}                         neither hold nor mark, and too long after the first try to know why: it may
--                                   have been charged. Book it in PostgreSQL by its id; this answer is final
--     {UNKNOWN, now_ms}             neither hold nor mark, and young: this epoch has not charged it in a mark's life
--     {COLD}                        as OLD and UNKNOWN, and the account is not loaded either
--   What is found decides, and age only where nothing is found: a hold that is still there is charged however old
--   the try is, since leaving it would let the sweeper charge it beside what is booked in PostgreSQL.
--   Writes: h:<CUR> falls by the hold, b:<CUR> by the cost, counters that exist change by cost - hold, o:<CUR>
--   keeps the lowest balance below zero, z:<CUR> when it went below, the mark S, one event. Where a plan bears a part
--   of the hold, the parts take the cost in their order, each up to what it holds, the last one the rest. Of rates the place among parallel calls is
--   given back and the tokens are set right; a LATE settle changes no rate. Passes when memory is full.
--   Example: balance 1000, held 300 by this hold, cost 120 -> {OK, '880', now}; the same again -> {DONE}.
--   Expired with 50 charged, cost 120 -> {LATE, ...} and an event of 70; cost 20 -> an event of -30.
local hold_id, account_id, currency, cost = ARGV[2], ARGV[3], ARGV[4], ARGV[5]
local first_try_ms, status, payload = tonumber(ARGV[6]), ARGV[7], ARGV[8]
nanos(cost, 'cost_nanos')
local tokens = ARGV[9] and nanos(ARGV[9], 'tokens')
if #KEYS ~= 5 or #ARGV ~= 8 and not tokens or #ARGV > 9 or not first_try_ms or status ~= 'settled' and status ~= 'partial' then
  error('BADARG settle: arguments do not fit', 0)
end

-- Read.
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return {'FENCED'} end
local packed, paid = redis.call('HGET', KEYS[3], hold_id), '0'
if not packed then
  local mark = redis.call('GET', KEYS[4])
  if mark == 'S' then return {'DONE'} end
  if mark == 'R' then return {'RELEASED'} end
  if not mark then
    if redis.call('EXISTS', KEYS[2]) == 0 then return {'COLD'} end
    if first_try_ms > 0 and now_ms - first_try_ms > SETTLE_AGE_MAX_MS then return {'OLD'} end
    return {'UNKNOWN', now_ms}
  end
  paid, packed = string.match(mark, '^E\31(%d+)\31(.*)$')
  if not packed then error('BADHOLD a mark that is none: ' .. mark, 0) end
  status = 'late'
end
local owner, held_currency, amount, windows, rates = payer_of(packed)
local is_held = status ~= 'late'
if not is_held then rates = '' end -- expiry has given them back, and freed the hold
local parts = parts_of(windows, amount)
share_out(parts, 'paid', paid)
share_out(parts, 'charge', cost)
local fields, values = read_account(currency, parts)
if not fields then return {'COLD'} end

-- Check.
if owner ~= account_id or held_currency ~= currency then
  error('BADARG hold ' .. hold_id .. ' is of account ' .. owner .. ' in ' .. held_currency, 0)
end
check_sums(fields, values, parts, is_held)

-- Write.
local available = move_money(hold_id, fields, values, parts, is_held)
if rates ~= '' then give_rates_back(rates, tokens) end
emit(hold_id, 'S', status, parts, account_id, currency, payload)
if not is_held then return {'LATE', available, now_ms} end
return {'OK', available, now_ms}
