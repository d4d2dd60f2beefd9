-- _attempts: runs not yet copied to rows, a JSON field `attempt:<fence>` each; at most fifty.
-- What the run told of its progress, if what the message has is that run's.
local function last_words(m)
  local report, start = redis.call('HGET', m.key, 'report'), '{"fence":' .. digits(m.fence) .. ','
  return report and string.sub(report, 1, #start) == start and ',"report":' .. report or ''
end

-- `how`: how its process ended, "" where nobody knows.
local function note_end(m, outcome, how)
  redis.call('HSET', m.key, 'attempt:' .. digits(m.fence), string.format(
    '{"number":%.0f,"consumer":"%s","claimed_at":%.0f,"finished_at":%.0f,"outcome":"%s"',
    m.attempt + 1, m.consumer or '', m.fence, now, outcome)
    .. (how ~= '' and ',"error_message":' .. cjson.encode(how) or '') .. last_words(m) .. '}')
end

-- A task that snoozes for ever while the database is away would grow for ever.
local function trim_attempts(m)
  if redis.call('HLEN', m.key) < 90 then return end
  local fences = {}
  for _, name in ipairs(redis.call('HKEYS', m.key)) do
    local fence = string.match(name, '^attempt:(%d+)$')
    if fence then fences[#fences + 1] = tonumber(fence) end
  end
  table.sort(fences)
  for i = 1, #fences - 50 do redis.call('HDEL', m.key, 'attempt:' .. digits(fences[i])) end
end
