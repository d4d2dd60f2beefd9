-- _claim: ready → unacked, through one gate; shared by claim and ack.
-- What decides; all else goes out as it is. Asking for every name that a message may have would cost
-- twice as much: most of them it has not.
local SLOT = {state = 1, fence = 2, revision = 3, doubt = 4, era = 5, suspect = 6, expires = 7,
              database = 8, acked = 9, report = 10}
-- What an earlier run left, perhaps megabytes: not for the next one.
local function without_what_was_left(raw)
  local kept, left = {}, {return_value = true, error_class = true, error_message = true,
                          traceback = true, report = true}
  for i = 1, #raw, 2 do
    local name = raw[i]
    if not left[name] and string.sub(name, 1, 8) ~= 'attempt:' then
      kept[#kept + 1], kept[#kept + 2] = name, raw[i + 1]
    end
  end
  return kept
end

-- Of guests' ids those that a consumer can name and a board can hold (64 bytes); ours are UUIDs.
local function is_nameable(id) return #id <= 64 and not string.find(id, '[^%w%p]') end

-- What a claim may take from the head of the line: reads only.
local function pick(limit)
  local picked, expired, broken, held_back = {}, {}, {}, false
  local line = redis.call('ZRANGE', READY, 0, math.min(limit, 1000) - 1)
  if #line == 0 then return picked, expired, broken, true end  -- nobody is to be woken
  local meta = redis.call('HMGET', META, 'era', 'run', 'paused', 'since')
  if meta[3] == '1' then return picked, expired, broken, true end
  local is_quiet = era_age(meta[4]) < QUIET
  for _, id in ipairs(line) do
    local raw, v = redis.pcall('HGETALL', message_key(id)), {}
    for i = 1, #raw, 2 do
      local slot = SLOT[raw[i]]
      if slot then v[slot] = raw[i + 1] end
    end
    if not v[1] or not is_nameable(id) then
      broken[#broken + 1] = id
    elseif v[7] and v[7] ~= '' and (tonumber(v[7]) or 0) <= now then
      expired[#expired + 1] = id
    else
      local in_doubt = v[4] == '1' or (v[5] ~= meta[1] and v[5] ~= meta[2])
      local is_suspect = v[6] == '1'
      if in_doubt and is_quiet then held_back = true; break end
      if is_suspect and #picked > 0 then break end  -- a suspect runs alone
      v[1], v[4], v[5] = id, in_doubt and '1' or '', meta[1] or meta[2] or ''
      v[9] = (v[9] or v[10]) and without_what_was_left(raw) or raw
      picked[#picked + 1] = v
      if is_suspect then break end
    end
  end
  return picked, expired, broken, held_back
end

local function claim_next(consumer, limit)
  -- Reap unregisters first: a dead child's late claim finds itself unknown here (law 4).
  if limit < 1 or not redis.call('ZSCORE', WORKERS, consumer) then return {} end
  local picked, expired, broken, held_back = pick(limit)
  local claimed, taken, holds, unacked = {}, {}, {}, {}
  for i, v in ipairs(picked) do taken[i] = v[1] end
  if #taken > 0 then redis.call('ZREM', READY, unpack(taken)) end
  for i, v in ipairs(picked) do
    local id = v[1]
    local stamp = math.max((tonumber(v[2]) or 0) + 1, (tonumber(v[3]) or 0) + 1, now)
    local fence = stamp == now and NOW or digits(stamp)
    claimed[i] = {id, fence, v[4], v[9]}
    redis.call('HSET', message_key(id), 'state', 'RUNNING', 'consumer', consumer, 'fence', fence,
               'revision', fence)
    -- Held in this era; if its consumer dies before it looked, the next one has to look.
    if v[4] == '1' then redis.call('HSET', message_key(id), 'era', v[5], 'doubt', v[4]) end
    holds[2 * i - 1], holds[2 * i] = id, fence
    unacked[2 * i - 1], unacked[2 * i] = NOW, id
    mark(id, v[8], fence)
  end
  for i = 1, #holds, 1000 do
    local last = math.min(i + 999, #holds)
    redis.call('ZADD', UNACKED, unpack(unacked, i, last))
    redis.call('HSET', consumer_key(consumer), unpack(holds, i, last))
  end
  for _, id in ipairs(expired) do
    local m = look(id)
    redis.call('ZREM', READY, id)
    finish(m, next_stamp(m), 'EXPIRED', {'finished_at', NOW})
    count('expired')
  end
  for _, id in ipairs(broken) do
    redis.call('ZREM', READY, id)
    bury(id, 'has no readable message')
    count('dead')
  end
  if not held_back and redis.call('ZCARD', READY) > 0 then wake() end
  return claimed
end
