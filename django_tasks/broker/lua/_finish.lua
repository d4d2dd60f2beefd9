-- _finish: the one way into a final state. The message stays until its row says the same.
local function finish(m, stamp, state)
  redis.call('HDEL', m.key, 'consumer', 'suspect', 'doubt')
  redis.call('HSET', m.key, 'state', state, 'revision', digits(stamp))
  -- The row has them since the INSERT: half the memory (record="after" may have no row yet).
  if m.record == 'first' then redis.call('HDEL', m.key, 'args', 'kwargs') end
  if m.database and m.database ~= '' then
    mark_dirty(m, stamp)
  else
    redis.call('EXPIRE', m.key, math.max(m.ttl, 1))
  end
end

local function dead_letter(m, stamp, reason)
  finish(m, stamp, 'FAILED')
  redis.call('HSET', m.key, 'dead_letter', reason, 'finished_at', digits(now))
end

-- What has no readable message has no row: it is kept here, the last thousand.
local function bury(id, reason)
  redis.call('DEL', message_key(id))
  redis.call('LPUSH', DEAD, digits(now) .. ' ' .. id .. ' ' .. reason)
  redis.call('LTRIM', DEAD, 0, 999)
end

local function is_final(m)
  return m.state == 'SUCCESSFUL' or m.state == 'FAILED' or m.state == 'CANCELLED'
    or m.state == 'EXPIRED'
end
