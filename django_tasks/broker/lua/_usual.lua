-- _usual: the usual outcome, a success of what the consumer holds: little has to be asked for it.
-- What the consumer holds of them, by one call: id → fence.
local function holds_of(consumer, outcomes, first)
  local ids, at = {}, first
  for n = 1, outcomes do
    ids[n] = ARGV[at]
    at = at + 6 + tonumber(ARGV[at + 5])
  end
  local holds = {}
  for j = 1, #ids, 1000 do
    local last = math.min(j + 999, #ids)
    local fences = redis.call('HMGET', consumer_key(consumer), unpack(ids, j, last))
    for k, fence in ipairs(fences) do holds[ids[j + k - 1]] = fence end
  end
  return holds
end

-- Of the usual outcome of what the consumer holds, little has to be known; nil if it is not that.
local function brief(id, fence_text, outcome, holds)
  if outcome ~= 'succeeded' or holds[id] ~= fence_text then return nil end
  local key = message_key(id)
  local v = redis.call('HMGET', key, 'revision', 'record', 'database', 'ttl', 'score', 'priority',
                       'watched', 'dependents')
  if not v[1] or not v[2] then return nil end  -- a stub
  return {id = id, key = key, revision = tonumber(v[1]) or 0, record = v[2], database = v[3],
          ttl = tonumber(v[4]) or 3600, score = tonumber(v[5]) or 0, priority = tonumber(v[6]) or 0,
          watched = v[7], dependents = v[8], fence = tonumber(fence_text)}
end
