-- prologue: the time of a script. Put in front of every script that needs it; tests put another in its place.
--   Gives now_ms, a number: milliseconds since the epoch by the clock of this Redis.
-- One clock decides which day it is, what a lease is worth and when a hold is too old: that of the server that
-- holds the money, never a gateway's.
local redis_time = redis.call('TIME')
local now_ms = redis_time[1] * 1000 + math.floor(redis_time[2] / 1000)
