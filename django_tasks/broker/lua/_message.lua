-- _message: a message's bookkeeping as a table, and the number that orders its changes.
local NAMES = {'state', 'consumer', 'fence', 'revision', 'round', 'era', 'score', 'priority',
               'database', 'record', 'ttl', 'attempt', 'lost', 'max_lost', 'suspect', 'charged',
               'acked', 'stub', 'claimed_at'}
local NUMBERS = {'fence', 'revision', 'round', 'score', 'priority', 'attempt', 'lost', 'ttl',
                 'claimed_at'}

-- nil where the broker does not know the id (or foreign hands put something else there).
local function look(id)
  local values = redis.pcall('HMGET', message_key(id), unpack(NAMES))
  if values.err or not values[1] then return nil end
  local m = {id = id, key = message_key(id)}
  for i, name in ipairs(NAMES) do m[name] = values[i] end
  for _, name in ipairs(NUMBERS) do m[name] = tonumber(m[name]) or 0 end
  m.max_lost = tonumber(m.max_lost) or 3
  return m
end

-- The next revision (and, at a claim, fence): microseconds that only grow (law 3).
local function next_stamp(m)
  return math.max(m.fence + 1, m.revision + 1, now)
end
