-- beat: renews the leases of a worker's consumers; starts an era if the server is not the same.
-- KEYS[1]    queue root
-- ARGV[1]    lease, µs
-- ARGV[2]    "1" if this is the first call of a connection (what tells an era where INFO may not)
-- ARGV[3]    "register" (consumers become known) or "beat"
-- ARGV[4]    "1" if the worker is stopping: what is reaped from it is not charged
-- ARGV[5..]  consumer ids
-- returns    era, µs since it began, the era that delivery is done with, ids that are not
--            registered (they were reaped), per consumer what it holds: {id, fence, …}; then what is to
--            be cancelled while it runs: {id, "<fence> <how>", …}, a hundred at most
-- dirty      nothing
-- uses       _numbers _now _keys _era
-- repeats    freely

redis.call('SREM', STOPPING, '')  -- a removal first, so that beats pass at maxmemory
local lease, is_stopping = tonumber(ARGV[1]), ARGV[4] == '1'
local meta = redis.call('HMGET', META, 'run', 'era', 'last_beat', 'delivered', 'since')
local run, era, since = server_run(), meta[2], meta[5]
if not era or (run ~= '' and meta[1] ~= run) or (run == '' and ARGV[2] == '1') then
  -- An era's number only grows, also when the clock went back.
  era = digits(math.max(now, (tonumber(era) or 0) + 1))
  since = NOW
  redis.call('HSET', META, 'run', run, 'era', era, 'since', since)
end

-- Nobody could beat for a while (the server was away, the clock stepped): it counts against nobody.
local last_beat = tonumber(meta[3])
if not last_beat or now - last_beat > lease / 2 or last_beat > now then
  for _, consumer in ipairs(redis.call('ZRANGE', WORKERS, 0, 999)) do
    redis.call('ZADD', WORKERS, digits(now + lease), consumer)
  end
end
redis.call('HSET', META, 'last_beat', NOW, 'lease', digits(lease))

local unknown, holdings = {}, {}
for i = 5, #ARGV do
  local consumer = ARGV[i]
  if ARGV[3] == 'register' or redis.call('ZSCORE', WORKERS, consumer) then
    redis.call('ZADD', WORKERS, digits(now + lease), consumer)
    if is_stopping then redis.call('SADD', STOPPING, consumer) end
  else
    unknown[#unknown + 1] = consumer
  end
  holdings[#holdings + 1] = redis.call('HGETALL', consumer_key(consumer))
end

-- A run that somebody cancelled: till it ended, its supervisor is told.
local cancels = {}
if redis.call('HLEN', CANCELS) > 0 then
  local noted = redis.call('HRANDFIELD', CANCELS, 100, 'WITHVALUES')
  for i = 1, #noted, 2 do
    local v = redis.pcall('HMGET', message_key(noted[i]), 'state', 'fence')
    local fence = string.match(noted[i + 1], '^(%d+) ')
    if v.err or v[1] ~= 'RUNNING' or v[2] ~= fence then
      redis.call('HDEL', CANCELS, noted[i])
    else
      cancels[#cancels + 1], cancels[#cancels + 2] = noted[i], noted[i + 1]
    end
  end
end
return {era, math.floor(era_age(since)), meta[4] or '', unknown, holdings, cancels}
