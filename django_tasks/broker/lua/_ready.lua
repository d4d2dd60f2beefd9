-- _ready: puts a message in line, or on the list of those that wait for a time; takes it out.
local function make_ready(m, stamp, score)
  redis.call('ZADD', READY, score, m.id)
  redis.call('HSET', m.key, 'state', 'READY', 'revision', digits(stamp), 'score', score)
  redis.call('HDEL', m.key, 'consumer')
  mark_dirty(m, stamp)
end

local function make_scheduled(m, stamp, at)
  redis.call('ZADD', SCHEDULED, digits(at), m.id)
  redis.call('HSET', m.key, 'state', 'SCHEDULED', 'revision', digits(stamp), 'run_after', digits(at))
  redis.call('HDEL', m.key, 'consumer')
  mark_dirty(m, stamp)
end

local function leave_line(m)
  if m.state == 'READY' then redis.call('ZREM', READY, m.id) end
  if m.state == 'SCHEDULED' then redis.call('ZREM', SCHEDULED, m.id) end
end
