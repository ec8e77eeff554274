-- extend: let a hold grow while its stream runs, and note what was delivered so far.
-- Needs: amounts, holds
--   KEYS  1 epoch  2 account  3 holds
--   ARGV  1 epoch  2 hold_id  3 account_id  4 new_total_nanos  5 least_total_nanos (<= new_total)  6 delivered_nanos
--         7 n_windows, then 3 per window: window_id, limit_nanos, enforce (0|1)
--         then, where the stream is to go on by another way of its plan: '~' if the plan bears it, and the windows that
--         it counts in from now on, 'id:span,...'; a span '*...' is that of admission, which the hold names
--   Totals, never deltas: the same call twice changes nothing the second time. The counters that move are those
--   of the windows of admission, which the hold names, each once and in the span of admission; the list only says
--   which of them bind and at what limit.
--   A counter that is gone stays gone, and does not bind; no other way is begun where one that would bind is gone, and it
--   counts in none that is.
--   Replies; money is text
--     {FENCED} {COLD}
--     {GONE}                                  no such hold: it ended
--     {OK, granted_total, available}          min(new_total, amount + room), never below the present amount
--     {SHORT, available}                      the wallet cannot cover the least; nothing is written
--     {WINDOW, window, limit, remaining, span}
--                                             nor can this window (its place in the list, from 0) in the span of
--                                             admission; nothing is written
--   Writes: h:<CUR> and the counters rise by the growth; the hold keeps the new amount and max(delivered). With another
--   way what was held stays as it is, a part of its own, and the growth is held by that way.
--   It passes when memory is full (HDEL goes first): the call is already paid for in memory, and goes on.
--   Example: balance 1000, held 300 by this hold; {500, 400, 120} -> {OK, '500', '500'};
--   {1200, 400, 150} -> {OK, '1000', '0'}; {1500, 1200, 180} -> {SHORT, '0'}
local account, holds = KEYS[2], KEYS[3]
local hold_id = ARGV[2]
local WINDOW = 3 -- arguments per window

local new_total, least_total = nanos(ARGV[4], 'new_total_nanos'), nanos(ARGV[5], 'least_total_nanos')
local delivered = nanos(ARGV[6], 'delivered_nanos')
local n_windows = tonumber(ARGV[7])
if #KEYS ~= 3 or n_windows < 0 or n_windows > 24 or least_total > new_total
  or #ARGV ~= 7 + WINDOW * n_windows and #ARGV ~= 8 + WINDOW * n_windows then
  error('BADARG extend: counts or totals do not fit', 0)
end

-- Read.
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return {'FENCED'} end
local packed = redis.call('HGET', holds, hold_id)
if not packed then
  if redis.call('EXISTS', account) == 0 then return {'COLD'} end
  return {'GONE'}
end
local owner, currency, amount_text, delivered_text, worker_id, admitted_ms, max_at_ms, windows, last, rates, ticket =
  unpack_hold(packed)
if owner ~= ARGV[3] then error('BADARG hold ' .. hold_id .. ' is of account ' .. owner, 0) end
local earlier, current = string.match(windows, '^(.-)([^;]*)$')
local way = ARGV[8 + WINDOW * n_windows]
local gone = {} -- of the windows of a way those without a counter, by id
if way then
  local spans, kept = {}, {}
  for id, span in string.gmatch(windows, '(%d+):([^,;]*)') do spans[id] = span end
  way = string.gsub(way, '(%d+):%*%d+', function(id)
    return id .. ':' .. (spans[id] or error('BADARG extend: the hold is in no span of window ' .. id, 0))
  end)
  local names = string.gsub(way, '^~', '')
  if names ~= '' and string.gsub(names .. ',', '%d+:[%w%-]+,', '') ~= '' then
    error('BADARG extend: a way that is none: ' .. way, 0)
  end
  for id, span in string.gmatch(way, '(%d+):([^,]*)') do
    if redis.call('HEXISTS', account, 'w:' .. id .. ':' .. span) == 1 then
      kept[#kept + 1] = id .. ':' .. span
    else
      gone[id] = span
    end
  end
  way = string.match(way, '^~?') .. table.concat(kept, ',')
  if way == current then way = nil end -- it goes on by it already
end
if way then
  local held = parts_of(windows, amount_text)
  earlier = earlier .. string.match(current, '^~?') .. held[#held].amount .. '/' .. string.gsub(current, '^~', '') .. ';'
  current = way
end
local borne = string.byte(current) == 126
local fields = {'b:' .. currency, 'h:' .. currency}
local place = {}
for name in string.gmatch(borne and string.sub(current, 2) or current, '[^,]+') do
  fields[#fields + 1] = 'w:' .. name
  place[string.match(name, '^[^:]*')] = #fields
end
local values = redis.call('HMGET', account, unpack(fields))
if not values[1] and redis.call('EXISTS', account) == 0 then return {'COLD'} end

-- Check.
local available = (values[1] or 0) - (values[2] or 0)
local room, tightest = borne and SUM_MAX or available, nil
for w = 1, n_windows do
  local at = 5 + WINDOW * w
  local limit = nanos(ARGV[at + 1], 'limit_nanos')
  local i = place[ARGV[at]]
  if ARGV[at + 2] == '1' and (i and values[i] or gone[ARGV[at]]) then
    local left = i and values[i] and limit - values[i] or 0
    if left < room then room, tightest = left, w end
  end
end
local amount = tonumber(amount_text)
local granted_text = amount_text
if new_total > amount and room > 0 then
  granted_text = ARGV[4]
  if amount + room < new_total then granted_text = shown(amount + room) end
end
if tonumber(granted_text) < least_total then
  if not tightest then return {'SHORT', shown(available)} end
  local id, limit = ARGV[5 + WINDOW * tightest], ARGV[6 + WINDOW * tightest]
  local span = gone[id] or string.match(fields[place[id]], '^w:[^:]*:(.*)$')
  return {'WINDOW', tightest - 1, limit, shown(room), span}
end
local growth = difference(granted_text, amount_text)
for i = borne and 3 or 2, #fields do
  if (values[i] or 0) + growth > SUM_MAX then error('RANGE ' .. fields[i], 0) end
end
if delivered > tonumber(delivered_text) then delivered_text = ARGV[6] end

-- Write.
redis.call('HDEL', holds, hold_id)
redis.call('HSET', holds, hold_id, pack_hold(owner, currency, granted_text, delivered_text, worker_id, admitted_ms,
  max_at_ms, earlier .. current, last, rates, ticket))
if growth ~= '0' then
  if not borne then redis.call('HINCRBY', account, fields[2], growth) end
  for i = 3, #fields do
    if values[i] then redis.call('HINCRBY', account, fields[i], growth) end
  end
end
return {'OK', granted_text, shown(available - (borne and 0 or growth))}
