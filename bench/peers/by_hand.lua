-- by_hand: reserve before a call, settle after it, with nginx's own means. A peer in the bench, not a product.
--   One account, a day's budget and one fixed hold, as small as such a thing can be and still bill:
--   {b}:account  hash    balance, held          {b}:day     counter of what the day has cost and holds
--   {b}:holds    sorted set of open holds       {b}:events  stream of what was charged
local cjson = require "cjson.safe"
local redis = require "nginx.redis"

local M = { redis_port = 6379 }
local HOLD = 500
local HOLD_SECONDS = 600
local TAIL_BYTES = 1200
local PIECE_BYTES = 600 -- a piece this long has the usage in it by itself

local RESERVE = [[
local money = redis.call('HMGET', KEYS[1], 'balance', 'held')
local hold = tonumber(ARGV[2])
if tonumber(money[1] or '0') - tonumber(money[2] or '0') < hold then
    return 0
end
redis.call('HINCRBY', KEYS[1], 'held', hold)
redis.call('INCRBY', KEYS[2], hold)
redis.call('ZADD', KEYS[3], ARGV[3], ARGV[1])
return 1
]]

local SETTLE = [[
if redis.call('ZREM', KEYS[3], ARGV[1]) == 0 then
    return 0
end
local hold, cost = tonumber(ARGV[2]), tonumber(ARGV[3])
redis.call('HINCRBY', KEYS[1], 'held', -hold)
redis.call('HINCRBY', KEYS[1], 'balance', -cost)
redis.call('INCRBY', KEYS[2], cost - hold)
redis.call('XADD', KEYS[4], '*', 'event', ARGV[4])
return 1
]]

local shas = {}
local last_id = 0

local function run(script, ...)
    local link = redis:new()
    link:set_timeout(2000)
    assert(link:connect("127.0.0.1", M.redis_port))
    local sha = shas[script]
    if not sha then
        sha = assert(link:script("load", script))
        shas[script] = sha
    end
    local reply, problem = link:evalsha(sha, ...)
    link:set_keepalive(60000, 256)
    if problem then
        ngx.log(ngx.ERR, problem)
    end
    return reply
end

local function refuse(status, message)
    ngx.status = status
    ngx.say('{"error":{"message":"' .. message .. '"}}')
    return ngx.exit(status)
end

function M.admit()
    ngx.req.read_body()
    local body = cjson.decode(ngx.req.get_body_data() or "")
    if not body then
        return refuse(400, "the body is no JSON")
    end
    local key = (ngx.var.http_authorization or ""):sub(8)
    if key == "" then
        return refuse(401, "no key")
    end
    last_id = last_id + 1
    local id = ngx.worker.pid() .. "-" .. last_id
    local granted = run(RESERVE, 3, "{b}:account", "{b}:day", "{b}:holds", id, HOLD, ngx.time() + HOLD_SECONDS)
    if granted ~= 1 then
        return refuse(429, "insufficient_quota")
    end
    ngx.ctx.id = id
    if body.stream then
        body.stream_options = { include_usage = true }
        ngx.req.set_body_data(cjson.encode(body))
    end
end

function M.watch(piece)
    if piece == "" then
        return
    end
    local ctx = ngx.ctx
    if #piece > PIECE_BYTES then
        ctx.tail = piece
    else
        ctx.tail = ((ctx.tail or "") .. piece):sub(-TAIL_BYTES)
    end
end

local function settle(_, id, tokens, usage)
    local event = cjson.encode({ id = id, usage = usage })
    run(SETTLE, 4, "{b}:account", "{b}:day", "{b}:holds", "{b}:events", id, HOLD, tokens, event)
end

function M.charge()
    local id = ngx.ctx.id
    if not id then
        return
    end
    local usage = (ngx.ctx.tail or ""):match('"usage":(%b{})')
    local counts = usage and cjson.decode(usage)
    -- no sockets in this phase: a timer of no delay has them
    ngx.timer.at(0, settle, id, counts and counts.total_tokens or 0, usage)
end

return M
