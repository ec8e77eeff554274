-- holds: the form of a packed hold. Put in front of every script that reads one.
--   Gives pack_hold(...), unpack_hold(packed), and payer_of(packed) for an end that needs no more.
-- A hold is one text, its eleven parts joined by the byte 0x1f. Only the ticket is free text, and so it is last:
--   account_id, currency, amount_nanos, delivered_nanos, worker_id, admitted_ms, max_at_ms,
--   windows ("id:span,id:span" or empty), last (1 = the account's one last-money call),
--   rates (what an end gives back of them, see rates.lua; or empty), ticket (JSON)

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
