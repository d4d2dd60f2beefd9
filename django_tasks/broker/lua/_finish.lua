-- _finish: the one way into a final state. The message stays until its row says the same.
local function expire(m)
  redis.call('EXPIRE', m.key, digits(math.min(math.max(m.ttl, 1), 1000000000)))
end

-- `fields`: field, value, … that are written with it.
local function finish(m, stamp, state, fields)
  -- The row has the arguments since the INSERT: half the memory (that of "after" may come later).
  if m.record == 'first' then
    redis.call('HDEL', m.key, 'consumer', 'suspect', 'doubt', 'args', 'kwargs')
  else
    redis.call('HDEL', m.key, 'consumer', 'suspect', 'doubt')
  end
  redis.call('HSET', m.key, 'state', state, 'revision', digits(stamp), unpack(fields))
  if m.database and m.database ~= '' then
    mark_dirty(m, stamp)
  else
    expire(m)
  end
end

local function dead_letter(m, stamp, reason)
  finish(m, stamp, 'FAILED', {'dead_letter', reason, 'finished_at', NOW})
end

-- What has no readable message has no row: it is kept here, the last thousand.
local function bury(id, reason)
  redis.call('DEL', message_key(id))
  redis.call('LPUSH', DEAD, NOW .. ' ' .. id .. ' ' .. reason)
  redis.call('LTRIM', DEAD, 0, 999)
end

local function is_final(m)
  return m.state == 'SUCCESSFUL' or m.state == 'FAILED' or m.state == 'CANCELLED'
    or m.state == 'EXPIRED'
end
