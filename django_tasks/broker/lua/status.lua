-- status: what a queue holds, in numbers; whatever its length, the same few reads.
-- KEYS[1]    queue root
-- ARGV[1..]  database aliases of rows
-- returns    the server's time (µs); ready, scheduled, deferred, unacked, dead, consumers; µs that the
--            oldest ready one has waited (-1: none); `meta`; consumers are those whose lease runs;
--            the counters of this minute and of the last; per alias {marks, µs of the oldest (0: none)}
-- dirty      nothing
-- uses       _numbers _now _keys
-- repeats    freely

-- When a message came into the line, in µs; nil for what is no message.
local function arrival(id)
  local v = redis.pcall('HMGET', message_key(id), 'score', 'priority')
  local score = not v.err and tonumber(v[1])
  return score and (score + (tonumber(v[2]) or 0) * 4398046511104) * 1000, tonumber(v[2]) or 0
end

-- The first in line is the oldest of its priority; so is the first of the lowest, served last.
local function oldest_ready()
  local first = redis.call('ZRANGE', READY, 0, 0)[1]
  if not first then return -1 end
  local _, lowest = arrival(redis.call('ZREVRANGE', READY, 0, 0)[1])
  local others = redis.call('ZRANGEBYSCORE', READY, digits(-lowest * 4398046511104), '+inf',
                            'LIMIT', 0, 1)
  local came = math.min(arrival(first) or now, others[1] and arrival(others[1]) or now)
  return digits(math.max(now - came, 0))
end

local function counters(minute)
  local found = redis.pcall('HGETALL', count_key(digits(minute)))
  return found.err and {} or found
end

local places = {}
for i, database in ipairs(ARGV) do
  local first = redis.call('ZRANGE', dirty_key(database), 0, 0, 'WITHSCORES')
  places[i] = {redis.call('ZCARD', dirty_key(database)), first[2] or '0'}
end
local minute = math.floor(now / 60000000)
return {NOW, redis.call('ZCARD', READY), redis.call('ZCARD', SCHEDULED),
        redis.call('ZCARD', root .. ':deferred'), redis.call('ZCARD', UNACKED),
        redis.call('LLEN', DEAD), redis.call('ZCOUNT', WORKERS, NOW, '+inf'), oldest_ready(),
        redis.call('HGETALL', META), counters(minute), counters(minute - 1), places}
