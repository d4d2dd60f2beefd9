-- _hold: who holds a message: `unacked`, `consumer:<id>` and the message itself say the same.
local function is_held(m) return m.state == 'RUNNING' end

local function is_holder(m, consumer, fence)
  return is_held(m) and m.consumer == consumer and m.fence == fence
end

-- A hold of an earlier era may be one whose end the broker forgot (an old dump or append-only file).
-- Then a greater fence is of a later claim, which it forgot too.
local function is_outdated_hold(m, fence)
  if not is_held(m) or fence <= m.fence then return false end
  local meta = redis.call('HMGET', META, 'era', 'run')
  return m.era ~= meta[1] and m.era ~= meta[2]
end

local function drop_hold(m)
  redis.call('ZREM', UNACKED, m.id)
  if m.consumer then redis.call('HDEL', consumer_key(m.consumer), m.id) end
end

-- A reap that charged this very run was wrong: the run reported after all.
local function undo_charge(m)
  if m.charged and tonumber(m.charged) == m.fence then
    redis.call('HDEL', m.key, 'charged')
    redis.call('HSET', m.key, 'lost', digits(math.max(m.lost - 1, 0)))
  end
end
