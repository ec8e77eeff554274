-- holds: the form of a packed hold. Put in front of every script that reads one.
--   Gives pack_hold(...) and unpack_hold(packed).
-- A hold is one text, its ten parts joined by the byte 0x1f. Only the ticket is free text, and so it is last:
--   account_id, currency, amount_nanos, delivered_nanos, worker_id, admitted_ms, max_at_ms,
--   windows ("id:span,id:span" or empty), last (1 = the account's one last-money call), ticket (JSON)

local HOLD_PARTS = '^([^\31]*)\31([^\31]*)\31([^\31]*)\31([^\31]*)\31([^\31]*)\31'
  .. '([^\31]*)\31([^\31]*)\31([^\31]*)\31([^\31]*)\31(.*)$'

local function pack_hold(...)
  return table.concat({...}, '\31')
end

local function unpack_hold(packed)
  local account_id, currency, amount, delivered, worker_id, admitted_ms, max_at_ms, windows, last, ticket =
    string.match(packed, HOLD_PARTS)
  if not ticket then error('BADHOLD a hold that is none: ' .. packed, 0) end
  return account_id, currency, amount, delivered, worker_id, admitted_ms, max_at_ms, windows, last, ticket
end
