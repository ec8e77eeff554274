-- rates: requests and tokens a minute, and calls in parallel, as reserve takes them. Put in front of it.
--   KEYS[2] account
--   Gives read_rates(text, fields, now_ms). What an end gives back stands in ends.lua.
-- Fields of the account, per rule, integers as text:
--   r:<id> t:<id>  when all requests (tokens) that were taken will have come back, in microseconds (GCRA: the
--                  theoretical arrival time). One that lies in the past, or is not there, says that none is taken
--   p:<id>         calls under way
-- A minute's worth may come at once; then each comes back by itself, one request every 60 s / rpm. A request's time is
-- rounded up to the microsecond, so that no more pass in the long run than were sold, and tokens' time down, so that
-- what fits exactly does pass. Rates are not in the books: an account that is loaded anew begins without them.

-- The rules of a text as reserve needs them: {check, take, standing}. Their fields are added to those that are read.
-- All of it is within one function: Redis makes a script's functions, and what they refer to, anew at every call, and
-- most calls have no rates.
local function read_rates(text, fields, now_ms)
  local MINUTE_US = 60000000
  local RATES_MAX = 16
  local PARALLEL_WAIT_MS = 1000 -- nobody knows when a call ends
  local RATE = '()(%d+) (%d+) (%d+) (%d+);()' -- where it begins, its parts, and where the next one begins
  local rates, read_to = {}, 1
  for from, id, rpm, tpm, parallel, to in string.gmatch(text, RATE) do
    if from ~= read_to then break end
    rates[#rates + 1] = {id = id, rpm = tonumber(rpm), tpm = tonumber(tpm), parallel = tonumber(parallel), at = #fields}
    fields[#fields + 1], fields[#fields + 2], fields[#fields + 3] = 'r:' .. id, 't:' .. id, 'p:' .. id
    read_to = to
  end
  local tokens_text = string.match(text, '^%d+$', read_to)
  if not tokens_text or #tokens_text > 13 or #rates < 1 or #rates > RATES_MAX then
    error('BADARG reserve: rates that are none: ' .. text, 0)
  end
  local tokens, now_us = tonumber(tokens_text), now_ms * 1000

  -- Whether all rules let the call pass; and, in each rule, what it would take. Of several that refuse the one is told
  -- that takes longest. nil, or {place from 0, rpm|tpm|parallel, limit, wait_ms}; wait_ms -1: it can never pass.
  local function check(state)
    local refusal
    local function refuse(i, what, limit, wait_ms)
      local worst = refusal and refusal[4]
      if not worst or worst ~= -1 and (wait_ms == -1 or wait_ms > worst) then
        refusal = {i - 1, what, limit, wait_ms}
      end
    end
    for i, rate in ipairs(rates) do
      if rate.rpm > 0 then
        rate.request_us = math.ceil(MINUTE_US / rate.rpm)
        rate.burst_us = rate.rpm * rate.request_us
        -- further ahead than a burst it can be only if the clock was set back
        rate.requests_us = math.min(math.max(tonumber(state[rate.at + 1] or '0') - now_us, 0), rate.burst_us)
        local over_us = rate.requests_us + rate.request_us - rate.burst_us
        if over_us > 0 then refuse(i, 'rpm', rate.rpm, math.ceil(over_us / 1000)) end
      end
      if rate.tpm > 0 then
        rate.call_us = math.floor(tokens * MINUTE_US / rate.tpm)
        rate.tokens_us = math.max(tonumber(state[rate.at + 2] or '0') - now_us, 0)
        local over_us = rate.tokens_us + rate.call_us - MINUTE_US
        if tokens > rate.tpm then
          refuse(i, 'tpm', rate.tpm, -1)
        elseif tokens > 0 and over_us > 0 then
          refuse(i, 'tpm', rate.tpm, math.ceil(over_us / 1000))
        end
      end
      if rate.parallel > 0 and tonumber(state[rate.at + 3] or '0') >= rate.parallel then
        refuse(i, 'parallel', rate.parallel, PARALLEL_WAIT_MS)
      end
    end
    return refusal
  end

  -- Take it, of rates that were checked. Returns what the hold is to keep: '' or 'tokens,id:tpm:parallel,...', with
  -- every rule of which an end has to give something back.
  local function take()
    local kept, arrivals = {}, {}
    for _, rate in ipairs(rates) do
      if rate.rpm > 0 then
        rate.requests_us = rate.requests_us + rate.request_us
        arrivals[#arrivals + 1], arrivals[#arrivals + 2] = 'r:' .. rate.id, shown(now_us + rate.requests_us)
      end
      if rate.tpm > 0 then
        rate.tokens_us = rate.tokens_us + rate.call_us
        arrivals[#arrivals + 1], arrivals[#arrivals + 2] = 't:' .. rate.id, shown(now_us + rate.tokens_us)
      end
      if rate.parallel > 0 then redis.call('HINCRBY', KEYS[2], 'p:' .. rate.id, '1') end
      if rate.tpm > 0 or rate.parallel > 0 then
        kept[#kept + 1] = ',' .. rate.id .. ':' .. shown(rate.tpm) .. (rate.parallel > 0 and ':1' or ':0')
      end
    end
    if #arrivals > 0 then redis.call('HSET', KEYS[2], unpack(arrivals)) end
    if #kept == 0 then return '' end
    return tokens_text .. table.concat(kept)
  end

  -- Limit, remaining and ms until all of it is back, of requests and then of tokens: each of the rule that has least
  -- left. A limit of 0: no rule.
  local function standing()
    local limit, left, back_us, token_limit, tokens_left, tokens_back_us = 0, 0, 0, 0, 0, 0
    for _, rate in ipairs(rates) do
      if rate.rpm > 0 then
        local remaining = math.floor((rate.burst_us - rate.requests_us) / rate.request_us)
        if limit == 0 or remaining < left then limit, left, back_us = rate.rpm, remaining, rate.requests_us end
      end
      if rate.tpm > 0 then
        local remaining = math.max(math.floor((MINUTE_US - rate.tokens_us) * rate.tpm / MINUTE_US), 0)
        if token_limit == 0 or remaining < tokens_left then
          token_limit, tokens_left, tokens_back_us = rate.tpm, remaining, rate.tokens_us
        end
      end
    end
    return {limit, left, math.ceil(back_us / 1000), token_limit, tokens_left, math.ceil(tokens_back_us / 1000)}
  end

  return {check = check, take = take, standing = standing}
end
