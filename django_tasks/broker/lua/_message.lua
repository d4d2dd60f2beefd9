-- _message: a message's bookkeeping as a table, and the number that orders its changes.
-- What a field that is left out means stands here and in broker/message.py (USUAL).
-- nil where the broker does not know the id (or foreign hands put something else there).
local function look(id)
  local key = message_key(id)
  local v = redis.pcall('HMGET', key, 'state', 'consumer', 'database', 'record', 'era', 'charged',
                        'acked', 'stub', 'fence', 'revision', 'round', 'score', 'priority',
                        'attempt', 'lost', 'max_lost', 'ttl', 'watched', 'cancel', 'dependents')
  if v.err or not v[1] then return nil end
  -- Written out: a table that grows name by name costs three times as much.
  return {id = id, key = key, state = v[1], consumer = v[2], database = v[3], record = v[4],
          era = v[5], charged = v[6], acked = v[7], stub = v[8], fence = tonumber(v[9]) or 0,
          revision = tonumber(v[10]) or 0, round = tonumber(v[11]) or 1,
          score = tonumber(v[12]) or 0, priority = tonumber(v[13]) or 0,
          attempt = tonumber(v[14]) or 0, lost = tonumber(v[15]) or 0,
          max_lost = tonumber(v[16]) or 3, ttl = tonumber(v[17]) or 3600,
          watched = v[18], cancel = v[19], dependents = v[20]}
end

-- The next revision (and, at a claim, fence): microseconds that only grow (law 3).
local function next_stamp(m)
  return math.max(m.fence + 1, m.revision + 1, now)
end
