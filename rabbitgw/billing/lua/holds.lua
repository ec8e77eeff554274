-- holds: the form of a packed hold. Put in front of every script that reads one.
--   Gives pack_hold(...), unpack_hold(packed), payer_of(packed) for an end that needs no more, and
--   parts_of(windows, amount).
-- A hold is one text, its eleven parts joined by the byte 0x1f. Only the ticket is free text, and so it is last:
--   account_id, currency, amount_nanos, delivered_nanos, worker_id, admitted_ms, max_at_ms,
--   windows ("id:span,id:span" or empty), last (1 = the account's one last-money call),
--   rates (what an end gives back of them, see rates.lua; or empty), ticket (JSON)
-- What the wallet pays counts in the windows. A hold that a plan bears, in whole or in part, says so in `windows`:
-- "~" in front of the windows of what the plan bears, and where a stream went on by another way of its plan, one such
-- text per part, joined by ";", each but the last with what it holds in front: "~500/7:2026-11-21;9:life" is 500 that
-- the plan bears, counted in window 7, and the rest, that the wallet pays, counted in window 9.

local function pack_hold(...)
  return table.concat({...}, '\31')
end

local function unpack_hold(packed)
  local account_id, currency, amount, delivered, worker_id, admitted_ms, max_at_ms, windows, last, rates, ticket =
    string.match(packed, '^([^\31]*)\31([^\31]*)\31([^\31]*)\31([^\31]*)\31([^\31]*)\31'
      .. '([^\31]*)\31([^\31]*)\31([^\31]*)\31([^\31]*)\31([^\31]*)\31(.*)$')
  if not ticket then error('BADHOLD a hold that is none: ' .. packed, 0) end
  return account_id, currency, amount, delivered, worker_id, admitted_ms, max_at_ms, windows, last, rates, ticket
end

-- account_id, currency, amount, windows and rates: half the work of unpacking all of it. One literal, which costs nothing.
local function payer_of(packed)
  local account_id, currency, amount, windows, rates = string.match(packed,
    '^([^\31]*)\31([^\31]*)\31([^\31]*)\31[^\31]*\31[^\31]*\31[^\31]*\31[^\31]*\31([^\31]*)\31[^\31]*\31([^\31]*)\31')
  if not rates then error('BADHOLD a hold that is none: ' .. packed, 0) end
  return account_id, currency, amount, windows, rates
end

-- The parts of a hold, first to last: {amount (text), borne (by the plan, not the wallet), names (of its windows)}.
local function parts_of(windows, amount)
  if not string.find(windows, '[~;]') then return {{amount = amount, borne = false, names = windows}} end
  local parts = {}
  for text in string.gmatch(windows .. ';', '([^;]*);') do
    local borne, closed, names = string.match(text, '^(~?)(%d+)/(.*)$')
    if closed then
      amount = difference(amount, closed)
    else
      borne, names = string.match(text, '^(~?)(.*)$')
    end
    parts[#parts + 1] = {amount = closed or amount, borne = borne == '~', names = names}
  end
  return parts
end
