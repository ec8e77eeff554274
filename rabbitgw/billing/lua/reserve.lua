-- reserve: put a hold on a wallet, and on every spend window above the caller, before a byte goes upstream.
-- Needs: prologue, amounts, holds, rates
--   KEYS  1 epoch  2 account  3 holds  4 mark of this hold  5 events
--   ARGV  1 epoch  2 hold_id (UUIDv7, ours)  3 worker_id  4 account_id  5 currency  6 key_id  7 key_generation
--         8 max_age_ms, after which the sweeper may end the hold  9 backlog_max, events
--         10 n_windows, at most 24: 16 that may bind a call, and what four plans above it count beyond their limits
--         then 5 per window: window_id, span, start_ms, end_ms (0 = never ends), limit_nanos; a span '*18000000' is
--         one of that many ms that opens at an admission: the open one, named by the time at which it opened, or else
--         one that opens now
--         then rates, in one text: '' for none, else at most 16 'id rpm tpm parallel;' (0 = no such limit) and behind
--         them the tokens that the call is estimated at
--         then offers, at least 1, in one text: 'amount_nanos least_nanos last enforce;' each; least <= amount,
--         last 0|1, enforce one of '1' (counts and binds), '0' (counts) and '-' (does not count) per window. Behind
--         them, where it is so, '~': a plan bears the cost, and the wallet is not asked; '^' and a time in ms: only if
--         the wallet is not below zero since then; '/' and the place of its ticket: a way of a plan's overflow policy
--         then tickets (JSON), joined by 0x1f where ways have their own: the first is of the other offers
--   Takes the first offer that passes. What it grants is min(amount, room), room being what the wallet and the
--   enforced windows have left; it must be at least `least` and not 0. An amount of 0 (a free model) asks only
--   that the balance is not negative. An offer with last = 1 passes only while no other such call of this account
--   and currency is under way. A way of a plan's overflow policy is taken only where the first offer fails at a window
--   that the way does not count in, or, if the plan bears it, by its '^', because the wallet is below zero.
--   Replies, in the order of the checks; money is text
--     {FENCED}                                       another epoch, or none
--     {DONE}                                         this hold has ended, or was released before it came
--     {HELD, offer, granted, available, now_ms}      this hold is there already: what it was granted, and the first
--                                                    offer that can have been it; offers and ticket must be those
--                                                    of the first time
--     {COLD}                                         the account is not loaded
--     {STALE}                                        the key has another generation: look it up again
--     {SPAN, now_ms}                                 a window's span is not the present one
--     {BACKLOG, events}                              the books are too far behind
--     {RATE, rule, what, limit, wait_ms, now_ms, standing}  a rule (its place in the list, from 0) refuses; what is
--                                                    rpm, tpm or parallel; wait_ms -1: it can never pass
--     {OK, offer, granted, available, now_ms}        offer counts from 0; available is what is left after the hold.
--                                                    With rates, standing follows; and behind it (0 without rates)
--                                                    the window (from 0) that only counts and is passed, if one is
--     {SHORT, available, now_ms}                     the first offer fails at the wallet, or its last-money
--                                                    place is taken
--     {WINDOW, window, limit, remaining, now_ms, span}
--                                                    ... at this window (counts from 0), in this span of it;
--                                                    remaining may be negative
--   standing is {request_limit, remaining, reset_ms, token_limit, remaining, reset_ms}, see rates.lua.
--   Writes: h:<CUR> (unless a plan bears it) and the counter of every window that counts rise by what is granted, every
--   rate is taken, the hold is stored, l:<CUR> is taken by a last-money call; the first touch of a span drops the counter
--   of the span before the previous one, and makes that of a window that does not count now but may later.
--   A refusal writes nothing. The first write is one that Redis refuses when memory is full.
--   Example: balance 1000, held 0, no windows, offers '300 300 0 ;' -> {OK, 0, '300', '700', now}; the same again ->
--   {HELD, 0, '300', '700', now}; another of '800 800 0 ;' -> {SHORT, '700', now};
--   of '800 800 0 ;800 500 1 ;' -> {OK, 1, '700', '0', now}
local account, holds, mark, events = KEYS[2], KEYS[3], KEYS[4], KEYS[5]
local hold_id, account_id, currency = ARGV[2], ARGV[4], ARGV[5]
local WINDOW = 5 -- arguments per window
local OFFER = '()(%d+) (%d+) ([01]) ([-01]*)([^;]*);()' -- where it begins, its parts, and where the next one begins

-- Arguments: their number first, so that none is missing below.
local n_windows, max_age_ms, backlog_max = tonumber(ARGV[10]), tonumber(ARGV[8]), tonumber(ARGV[9])
if #KEYS ~= 5 or n_windows < 0 or n_windows > 24 or #ARGV ~= 13 + WINDOW * n_windows
  or max_age_ms < 0 or backlog_max < 0 then
  error('BADARG reserve: counts do not fit', 0)
end
local rates_text, offers_text, tickets = ARGV[#ARGV - 2], ARGV[#ARGV - 1], ARGV[#ARGV]

-- What stands behind an offer: borne by a plan; since when the wallet may not be below zero, or nil; its ticket's place.
local function manner(text)
  local borne, gate, way = string.match(text, '^(~?)(%^?%d*)(/?%d*)$')
  if not borne or gate ~= '' and not string.find(gate, '^%^%d') or way == '/' then
    error('BADARG reserve: an offer is none: ' .. offers_text, 0)
  end
  return borne == '~', tonumber(string.sub(gate, 2)), tonumber(string.sub(way, 2)) or 0
end

local function ticket_of(way)
  if not string.find(offers_text, '/', 1, true) then return tickets end
  local at = 0
  for ticket in string.gmatch(tickets, '[^\31]+') do
    if at == way then return ticket end
    at = at + 1
  end
  error('BADARG reserve: an offer without a ticket: ' .. offers_text, 0)
end

-- Read.
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return {'FENCED'} end
if redis.call('EXISTS', mark) == 1 then return {'DONE'} end

local b_field, h_field, l_field = 'b:' .. currency, 'h:' .. currency, 'l:' .. currency
local packed = redis.call('HGET', holds, hold_id)
if packed then
  local owner, held_currency, amount, _, _, _, _, _, held_last, _, held_ticket = unpack_hold(packed)
  if owner ~= account_id or held_currency ~= currency then
    error('BADARG hold ' .. hold_id .. ' is of account ' .. owner .. ' in ' .. held_currency, 0)
  end
  local wallet = redis.call('HMGET', account, b_field, h_field)
  local available = shown((wallet[1] or 0) - (wallet[2] or 0))
  local i = 0
  for _, _, least, last, _, how in string.gmatch(offers_text, OFFER) do
    -- the hold keeps the offer's flag, its ticket and what was granted, not its number
    local _, _, way = manner(how)
    if ticket_of(way) == held_ticket and last == held_last and tonumber(least) <= tonumber(amount) then
      return {'HELD', i, amount, available, now_ms}
    end
    i = i + 1
  end
  error('BADARG hold ' .. hold_id .. ' was reserved with other offers', 0)
end

local spans, fields = {}, {'g:' .. ARGV[6], b_field, h_field, l_field}
for w = 1, n_windows do
  local at = 6 + WINDOW * w
  local span = ARGV[at + 1]
  if string.byte(span) == 42 then
    local length_ms, opened = tonumber(string.sub(span, 2)), redis.call('HGET', account, 'ws:' .. ARGV[at])
    if not length_ms then error('BADARG reserve: a span that is none: ' .. span, 0) end
    span = opened and now_ms < opened + length_ms and opened or shown(now_ms)
  end
  spans[w] = span
  fields[2 * w + 3] = 'w:' .. ARGV[at] .. ':' .. span
  fields[2 * w + 4] = 'ws:' .. ARGV[at]
end
local rates = rates_text ~= '' and read_rates(rates_text, fields, now_ms)
local state = redis.call('HMGET', account, unpack(fields))
if not state[1] and redis.call('EXISTS', account) == 0 then return {'COLD'} end
if state[1] ~= ARGV[7] then return {'STALE'} end

-- Check: the spans are today's, the books keep up, no rate refuses, and an offer passes.
local rooms = {}
for w = 1, n_windows do
  local at = 6 + WINDOW * w
  local start_ms, end_ms = tonumber(ARGV[at + 2]), tonumber(ARGV[at + 3])
  if now_ms < start_ms or end_ms ~= 0 and now_ms >= end_ms then return {'SPAN', now_ms} end
  rooms[w] = nanos(ARGV[at + 4], 'limit_nanos') - (state[2 * w + 3] or 0)
end
local backlog = redis.call('XLEN', events)
if backlog >= backlog_max then return {'BACKLOG', backlog} end
local refusal = rates and rates.check(state)
if refusal then
  return {'RATE', refusal[1], refusal[2], refusal[3], refusal[4], now_ms, rates.standing()}
end

local balance, held = tonumber(state[2] or '0'), tonumber(state[3] or '0')
local last_free -- asked when an offer needs it; a place whose hold is gone is free
local n_offers, read_to = 0, 1
local taken, first_tightest -- the offer; the window at which the first one fails, 0 for the wallet
local below_zero -- the first one fails because the wallet is
for from, amount_text, least_text, last, enforce, how, to in string.gmatch(offers_text, OFFER) do
  local amount, least = nanos(amount_text, 'amount_nanos'), tonumber(least_text)
  if from ~= read_to or least > amount or #enforce ~= n_windows then
    error('BADARG reserve: an offer is none, or contradicts itself: ' .. offers_text, 0)
  end
  local borne, gate, way, gated = false, nil, 0, false
  if how ~= '' then
    borne, gate, way = manner(how)
    if gate and balance < 0 then
      local since = redis.call('HGET', account, 'z:' .. currency)
      gated = not since or tonumber(since) >= gate
    end
  end
  local room, tightest = borne and SUM_MAX or balance - held, 0
  for w = 1, n_windows do
    if string.byte(enforce, w) == 49 and rooms[w] < room then room, tightest = rooms[w], w end
  end
  if not first_tightest then first_tightest, below_zero = gated and 0 or tightest, gated end
  if last == '1' and last_free == nil then
    last_free = not state[4] or redis.call('HEXISTS', holds, state[4]) == 0
  end
  local open = not taken and not gated and (last == '0' or last_free)
  if open and way > 0 then
    open = borne and below_zero or first_tightest > 0 and string.byte(enforce, first_tightest) == 45
  end
  if open then
    local granted
    if amount == 0 then
      if borne or balance >= 0 then granted = '0' end
    elseif room >= amount then
      granted = amount_text
    elseif room > 0 and room >= least then
      granted = shown(room)
    end
    if granted then
      taken = {at = n_offers, granted = granted, last = last, enforce = enforce, borne = borne, way = way}
    end
  end
  n_offers, read_to = n_offers + 1, to
end
if n_offers == 0 or read_to ~= #offers_text + 1 then
  error('BADARG reserve: offers that are none: ' .. offers_text, 0)
end
if not taken then
  if first_tightest == 0 then return {'SHORT', shown(balance - held), now_ms} end
  local limit = ARGV[10 + WINDOW * first_tightest]
  return {'WINDOW', first_tightest - 1, limit, shown(rooms[first_tightest]), now_ms, spans[first_tightest]}
end
local granted, enforce = taken.granted, taken.enforce
local names, before, passed = {}, {}, nil
for w = 1, n_windows do
  local at = 6 + WINDOW * w
  local how = string.byte(enforce, w)
  if how ~= 45 then
    names[#names + 1] = ARGV[at] .. ':' .. spans[w]
    if (state[2 * w + 3] or 0) + granted > SUM_MAX then error('RANGE counter of window ' .. names[#names], 0) end
    if how == 48 and rooms[w] < tonumber(granted) then passed = passed or w - 1 end
  end
  if state[2 * w + 4] ~= spans[w] then before[w] = redis.call('HGET', account, 'wo:' .. ARGV[at]) end
end
local ticket, windows = ticket_of(taken.way), table.concat(names, ',') -- it raises, and so before the first write

-- Write.
local held_now = redis.call('HINCRBY', account, h_field, taken.borne and '0' or granted)
for w = 1, n_windows do
  local at = 6 + WINDOW * w
  local window_id, span, latest = ARGV[at], spans[w], state[2 * w + 4]
  if latest ~= span and before[w] ~= span then -- when the clock was set back it is before[w]: nothing moves
    if before[w] then redis.call('HDEL', account, 'w:' .. window_id .. ':' .. before[w]) end
    if latest then redis.call('HSET', account, 'wo:' .. window_id, latest) end
    redis.call('HSET', account, 'ws:' .. window_id, span)
  end
  if string.byte(enforce, w) ~= 45 then
    redis.call('HINCRBY', account, 'w:' .. window_id .. ':' .. span, granted)
  elseif latest ~= span then
    redis.call('HINCRBY', account, 'w:' .. window_id .. ':' .. span, '0')
  end
end
local kept = rates and rates.take() or ''
if taken.borne then windows = '~' .. windows end
redis.call('HSET', holds, hold_id, pack_hold(account_id, currency, granted, '0', ARGV[3], shown(now_ms),
  shown(now_ms + max_age_ms), windows, taken.last, kept, ticket))
if taken.last == '1' then redis.call('HSET', account, l_field, hold_id) end
local available = shown(balance - held_now)
if passed then return {'OK', taken.at, granted, available, now_ms, rates and rates.standing() or 0, passed} end
if rates then return {'OK', taken.at, granted, available, now_ms, rates.standing()} end
return {'OK', taken.at, granted, available, now_ms}
