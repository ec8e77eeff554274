-- ends: what settle, release and expire share, since each ends a hold. Put in front of those three.
-- Needs holds. KEYS[2] account, KEYS[3] holds, KEYS[4] mark, KEYS[5] events, in all three.
--   Gives read_account(currency, parts), share_out(parts, what, total), check_sums(...), move_money(...),
--   emit(...), give_rates_back(kept, tokens).
-- An end passes when memory is full: its first write is HDEL, and once a script has written, Redis refuses
-- nothing more.

local MARK_LIFE_MS = 900000 -- 15 minutes: longer than any caller goes on retrying
local SETTLE_AGE_MAX_MS = MARK_LIFE_MS / 2 -- a settle this young would still find the mark of its first try

-- The fields that an end changes and their values: balance, held, worst, last-money hold, then one counter per
-- window of each part, which learns where its own are (from, to). nil when the account is not loaded.
local function read_account(currency, parts)
  local fields = {'b:' .. currency, 'h:' .. currency, 'o:' .. currency, 'l:' .. currency}
  for _, part in ipairs(parts) do
    part.from = #fields + 1
    if part.names ~= '' then
      for name in string.gmatch(part.names, '[^,]+') do fields[#fields + 1] = 'w:' .. name end
    end
    part.to = #fields
  end
  local values = redis.call('HMGET', KEYS[2], unpack(fields))
  if not values[1] and redis.call('EXISTS', KEYS[2]) == 0 then return nil end
  return fields, values
end

-- Divide a total (text) among the parts, first to last, each up to what it holds; the last takes what is left.
-- what: the name under which a part keeps its share ('charge', 'paid').
local function share_out(parts, what, total)
  for i = 1, #parts - 1 do
    local rest = difference(total, parts[i].amount)
    if string.byte(rest) == 45 then
      parts[i][what], total = total, '0'
    else
      parts[i][what], total = parts[i].amount, rest
    end
  end
  parts[#parts][what] = total
end

-- Raise, before anything is written, when a sum would leave what HINCRBY can count.
--   is_held: what the parts hold is freed; else an earlier end has freed it
local function check_sums(fields, values, parts, is_held)
  local sums = {} -- several parts may move one field, each by little
  local function check(i, change)
    local field = fields[i]
    sums[field] = (sums[field] or tonumber(values[i] or '0')) + change
    if math.abs(sums[field]) > SUM_MAX then
      error('RANGE ' .. fields[i] .. ' would leave what can be counted: ' .. tostring(values[i]), 0)
    end
  end
  for _, part in ipairs(parts) do
    if not part.borne then check(1, part.paid - part.charge) end
    for i = part.from, part.to do check(i, part.charge - (is_held and part.amount or part.paid)) end
  end
end

-- Free the hold, charge the wallet, correct the counters that still exist, give back the last-money place.
-- Returns the text of what is available now.
local function move_money(hold_id, fields, values, parts, is_held)
  redis.call('HDEL', KEYS[3], hold_id)
  local held, balance = tonumber(values[2] or '0'), tonumber(values[1] or '0')
  local before = balance
  for _, part in ipairs(parts) do
    local charge, paid, counted = part.charge, part.paid, is_held and part.amount or part.paid
    if not part.borne then
      if is_held and counted ~= '0' then
        held = redis.call('HINCRBY', KEYS[2], fields[2], difference('0', counted))
      end
      if charge ~= paid then balance = redis.call('HINCRBY', KEYS[2], fields[1], difference(paid, charge)) end
    end
    if charge ~= counted then
      local correction = difference(charge, counted)
      for i = part.from, part.to do
        if values[i] then redis.call('HINCRBY', KEYS[2], fields[i], correction) end
      end
    end
  end
  if values[4] == hold_id then redis.call('HDEL', KEYS[2], fields[4]) end
  if balance < 0 then
    if balance < tonumber(values[3] or '0') then
      redis.call('HSET', KEYS[2], fields[3], redis.call('HGET', KEYS[2], fields[1]))
    end
    -- since when: only what charges comes here, and that has the time
    if before >= 0 then redis.call('HSET', KEYS[2], 'z:' .. string.sub(fields[1], 3), shown(now_ms)) end
  end
  return shown(balance - held)
end

-- Give back what a hold has kept of rates: its place among the parallel calls, and of its tokens those that it did
-- not use in truth (if it used more, they are taken now). tokens: a number; nil: not known, all stay taken.
local function give_rates_back(kept, tokens)
  local DAY_US = 86400000000 -- more than this no single call takes of a rate, whatever it has used
  local function token_us(count, tpm) return math.min(math.floor(count * 60000000 / tpm), DAY_US) end
  local taken = tonumber(string.match(kept, '^%d+'))
  for id, tpm, parallel in string.gmatch(kept, ',(%d+):(%d+):([01])') do
    if parallel == '1' and tonumber(redis.call('HGET', KEYS[2], 'p:' .. id) or '0') > 0 then
      redis.call('HINCRBY', KEYS[2], 'p:' .. id, '-1')
    end
    local arrival_us = tpm ~= '0' and tokens and redis.call('HGET', KEYS[2], 't:' .. id)
    if arrival_us then
      local change_us = token_us(tokens, tonumber(tpm)) - token_us(taken, tonumber(tpm))
      redis.call('HSET', KEYS[2], 't:' .. id, shown(math.max(arrival_us + change_us, 0)))
    end
  end
end

-- Leave the mark of the end, and tell the books: what this end took from the wallet (n), what an earlier end took (x),
-- and the windows (w). Where windows and wallet moved by different amounts each window says its own ("id:span=nanos"),
-- and i is what a plan bore.
local function emit(hold_id, mark, status, parts, account_id, currency, payload)
  redis.call('SET', KEYS[4], mark, 'PX', MARK_LIFE_MS)
  local first = parts[1]
  if #parts == 1 and not first.borne then
    redis.call('XADD', KEYS[5], '*', 'id', hold_id, 's', status, 'n', difference(first.charge, first.paid),
      'x', first.paid, 'a', account_id, 'c', currency, 'w', first.names, 'p', payload)
    return
  end
  local sums, names = {charge = {[true] = '0', [false] = '0'}, paid = {[true] = '0', [false] = '0'}}, {}
  for _, part in ipairs(parts) do
    for what, sum in pairs(sums) do sum[part.borne] = total(sum[part.borne], part[what]) end
    for name in string.gmatch(part.names, '[^,]+') do
      names[#names + 1] = name .. '=' .. difference(part.charge, part.paid)
    end
  end
  redis.call('XADD', KEYS[5], '*', 'id', hold_id, 's', status, 'n', difference(sums.charge[false], sums.paid[false]),
    'x', sums.paid[false], 'a', account_id, 'c', currency, 'w', table.concat(names, ','), 'p', payload,
    'i', difference(sums.charge[true], sums.paid[true]))
end
