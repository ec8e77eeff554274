-- load: bring an account into Redis from one snapshot of PostgreSQL, unless it is there.
-- Needs: amounts
--   KEYS  1 epoch  2 account
--   ARGV  1 epoch  2 n_pairs, at least 1, then field, value, ...
--         fields, integers: b:<CUR> balance, h:<CUR> held, s:<CUR> credit sequence, o:<CUR> worst balance,
--         z:<CUR> when the balance went below zero, ms;
--         g:<key_id> generation, w:<window_id>:<span> counter; span names: ws:<window_id> the latest, wo:<window_id>
--         the one before
--   Replies {FENCED}, {OK}, {LOADED} (it was there; nothing is written)
--   Every number is checked here, because a text that HINCRBY refuses would stop a later script half way.
--   Example: absent, ('2', 'b:USD', '1000', 'g:7', '1') -> {OK}; again -> {LOADED}
local PAIRS_AT_ONCE = 1000 -- what one call of Lua can carry is limited

local n_pairs = tonumber(ARGV[2])
if #KEYS ~= 2 or n_pairs < 1 or #ARGV ~= 2 + 2 * n_pairs then error('BADARG load: counts do not fit', 0) end
for i = 3, #ARGV, 2 do
  local kind = string.match(ARGV[i], '^(%a+):.')
  if kind == 'b' or kind == 'o' or kind == 'w' then
    signed_nanos(ARGV[i + 1], ARGV[i])
  elseif kind == 'h' or kind == 's' or kind == 'g' or kind == 'z' then
    nanos(ARGV[i + 1], ARGV[i])
  elseif kind ~= 'ws' and kind ~= 'wo' then
    error('BADARG load: no such field: ' .. ARGV[i], 0)
  end
end

-- Read and check.
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return {'FENCED'} end
if redis.call('EXISTS', KEYS[2]) == 1 then return {'LOADED'} end

-- Write.
for i = 3, #ARGV, 2 * PAIRS_AT_ONCE do
  redis.call('HSET', KEYS[2], unpack(ARGV, i, math.min(i + 2 * PAIRS_AT_ONCE - 1, #ARGV)))
end
return {'OK'}
