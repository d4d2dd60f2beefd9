-- move: scheduled or ready → scheduled or ready, at another time, priority or place.
-- KEYS[1]    queue root
-- ARGV[1]    when to run, µs since 1970 (0: now; "": as it was)
-- ARGV[2]    priority ("": as it was; "front": before all that are ready)
-- ARGV[3..]  pairs: id, round
-- returns    per message its priority now; or a word, of what was not moved: "unknown", "final",
--            "running", "deferred"
-- dirty      each message moved
-- uses       _numbers _now _keys _message _dirty _line _final _finish _count _ready _policies _release _input _ends
-- repeats    freely, save "front", which puts it before what came to the front since

redis.call('SREM', STOPPING, '')  -- a removal first, so that it passes at maxmemory
local answers, at, wanted = {}, tonumber(ARGV[1]), ARGV[2]

-- Before the first in line: with its priority, a millisecond earlier; never with less than it had.
local function front(m)
  local first = redis.call('ZRANGE', READY, 0, 0, 'WITHSCORES')
  local other = first[1] and look(first[1])
  if not other or other.id == m.id then  -- the score of what is scheduled is no arrival
    return m.priority, m.state == 'READY' and digits(m.score) or nil
  end
  local priority = math.max(other.priority, m.priority)
  local score = math.min(tonumber(first[2]), tonumber(arrival_score(priority, now))) - 1
  return priority, digits(score)
end

local function place(m, stamp)
  local due = at and math.max(at, 1) or (m.state == 'SCHEDULED' and m.due) or 0
  local priority, score = m.priority, nil
  if wanted == 'front' then
    due = 0
    priority, score = front(m)
  elseif wanted ~= '' then
    priority = tonumber(wanted)
  end
  redis.call('HSET', m.key, 'priority', digits(priority))
  if due > now then
    leave_line(m)
    make_scheduled(m, stamp, due)
  else
    if not score and m.state == 'READY' then  -- it keeps its arrival
      score = digits(m.score + (m.priority - priority) * 4398046511104)
    end
    leave_line(m)
    make_ready(m, stamp, score or arrival_score(priority, now))
    if at or m.state == 'SCHEDULED' then redis.call('HSET', m.key, 'run_after', NOW) end
  end
  return digits(priority)
end

for i = 3, #ARGV, 2 do
  local m, answer = look(ARGV[i]), 'unknown'
  if m and m.round == (tonumber(ARGV[i + 1]) or 1) then
    if is_final(m) then
      answer = 'final'
    elseif m.state == 'RUNNING' then
      answer = 'running'
    elseif m.state == 'READY' or m.state == 'SCHEDULED' then
      m.due = tonumber(redis.call('HGET', m.key, 'run_after')) or 0
      answer = place(m, next_stamp(m))
    else
      answer = 'deferred'
    end
  end
  answers[#answers + 1] = answer
end
if redis.call('ZCARD', READY) > 0 then wake() end
release_dependents()
write_dirty_marks()
write_counts()
return answers
