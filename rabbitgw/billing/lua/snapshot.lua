-- snapshot: one moment of a partition, for the audit: where its stream stands, its open holds and some accounts.
-- Needs: prologue
--   KEYS  1 epoch  2 events  3 holds  4... accounts, at most 100
--   ARGV  1 epoch
--   Replies {FENCED}, {OK, now_ms, last_stream_id, {hold_id, packed, ...}, {field, value, ...} per account}
--   Values are texts, so money is exact; last_stream_id is the last ever given, also when it was trimmed since
--   ('0-0' when none); an account that is not loaded is an empty list. Writes nothing.
--   Example: (epoch, events, holds, account) -> {OK, now, '1700000000000-0', {}, {'b:USD', '1000'}}
if #KEYS < 3 or #KEYS > 103 or #ARGV ~= 1 then error('BADARG snapshot: arguments do not fit', 0) end
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return {'FENCED'} end

local last_id = '0-0'
if redis.call('EXISTS', KEYS[2]) == 1 then
  local info = redis.call('XINFO', 'STREAM', KEYS[2])
  for i = 1, #info, 2 do
    if info[i] == 'last-generated-id' then last_id = info[i + 1] end
  end
end
local reply = {'OK', now_ms, last_id, redis.call('HGETALL', KEYS[3])}
for i = 4, #KEYS do reply[#reply + 1] = redis.call('HGETALL', KEYS[i]) end
return reply
