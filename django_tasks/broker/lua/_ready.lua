-- _ready: puts a message in line, or on the list of those that wait for a time.
-- Somebody cancelled it while it ran, and its run ended in another way: it goes no further.
local function is_cancelled(m, stamp)
  if not m.cancel then return false end
  redis.call('HDEL', m.key, 'stub')
  finish(m, stamp, 'CANCELLED', {'finished_at', NOW})
  count('cancelled')
  return true
end

local function make_ready(m, stamp, score)
  if is_cancelled(m, stamp) then return end
  redis.call('ZADD', READY, score, m.id)
  redis.call('HSET', m.key, 'state', 'READY', 'revision', digits(stamp), 'score', score)
  redis.call('HDEL', m.key, 'consumer')
  mark_dirty(m, stamp)
end

local function make_scheduled(m, stamp, at)
  if is_cancelled(m, stamp) then return end
  redis.call('ZADD', SCHEDULED, digits(at), m.id)
  redis.call('HSET', m.key, 'state', 'SCHEDULED', 'revision', digits(stamp), 'run_after', digits(at))
  redis.call('HDEL', m.key, 'consumer')
  mark_dirty(m, stamp)
end
