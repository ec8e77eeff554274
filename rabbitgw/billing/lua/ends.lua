-- ends: what settle, release and expire share, since each ends a hold. Put in front of those three.
--   KEYS[2] account, KEYS[3] holds, KEYS[4] mark, KEYS[5] events, in all three.
--   Gives read_account(currency, windows), check_sums(...), move_money(...), emit(...),
--   give_rates_back(kept, tokens).
-- An end passes when memory is full: its first write is HDEL, and once a script has written, Redis refuses
-- nothing more.

local MARK_LIFE_MS = 900000 -- 15 minutes: longer than any caller goes on retrying
local SETTLE_AGE_MAX_MS = MARK_LIFE_MS / 2 -- a settle this young would still find the mark of its first try

-- The fields that an end changes and their values: balance, held, worst, last-money hold, then one counter per
-- window. nil when the account is not loaded.
local function read_account(currency, windows)
  local fields = {'b:' .. currency, 'h:' .. currency, 'o:' .. currency, 'l:' .. currency}
  if windows ~= '' then
    for name in string.gmatch(windows, '[^,]+') do fields[#fields + 1] = 'w:' .. name end
  end
  local values = redis.call('HMGET', KEYS[2], unpack(fields))
  if not values[1] and redis.call('EXISTS', KEYS[2]) == 0 then return nil end
  return fields, values
end

-- Raise, before anything is written, when a sum would leave what HINCRBY can count.
--   freed: leaves the hold; paid: was charged by an earlier end; charge: the whole true cost (numbers, nanos)
local function check_sums(fields, values, freed, paid, charge)
  local function check(i, change)
    if math.abs(tonumber(values[i] or '0') + change) > SUM_MAX then
      error('RANGE ' .. fields[i] .. ' would leave what can be counted: ' .. tostring(values[i]), 0)
    end
  end
  check(1, paid - charge)
  for i = 5, #fields do check(i, charge - paid - freed) end
end

-- Free the hold, charge the wallet, correct the counters that still exist, give back the last-money place.
-- freed, paid, charge as above, but texts; one of freed and paid is '0'. Returns the text of what is available now.
local function move_money(hold_id, fields, values, freed, paid, charge)
  redis.call('HDEL', KEYS[3], hold_id)
  local held, balance = tonumber(values[2] or '0'), tonumber(values[1] or '0')
  if freed ~= '0' then held = redis.call('HINCRBY', KEYS[2], fields[2], difference('0', freed)) end
  if charge ~= paid then balance = redis.call('HINCRBY', KEYS[2], fields[1], difference(paid, charge)) end
  local counted = freed
  if paid ~= '0' then counted = paid end
  if charge ~= counted then
    local correction = difference(charge, counted)
    for i = 5, #fields do
      if values[i] then redis.call('HINCRBY', KEYS[2], fields[i], correction) end
    end
  end
  if values[4] == hold_id then redis.call('HDEL', KEYS[2], fields[4]) end
  if balance < 0 and balance < tonumber(values[3] or '0') then
    redis.call('HSET', KEYS[2], fields[3], redis.call('HGET', KEYS[2], fields[1]))
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

-- Leave the mark of the end, and tell the books.
--   charge: what this end took from the wallet, signed text; paid: what an earlier end took
local function emit(hold_id, mark, status, charge, paid, account_id, currency, windows, payload)
  redis.call('SET', KEYS[4], mark, 'PX', MARK_LIFE_MS)
  redis.call('XADD', KEYS[5], '*', 'id', hold_id, 's', status, 'n', charge, 'x', paid,
    'a', account_id, 'c', currency, 'w', windows, 'p', payload)
end
