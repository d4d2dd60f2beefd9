-- promote: scheduled → ready, for what is due; ready → finished, for the oldest that expired; and
-- ends a pause whose time is over.
-- KEYS[1]    queue root
-- ARGV[1]    at most how many to make ready (1,000 is the limit)
-- returns    how many became ready, how many expired, µs until the next is due (-1: none), how many ends
--            and how many edges into other queues wait to be gone on with
-- dirty      each message moved
-- uses       _numbers _now _keys _message _dirty _line _final _finish _count _ready _policies _release _input _ends _dead
-- repeats    a second call finds the next ones that are due

local due = redis.call('ZRANGEBYSCORE', SCHEDULED, '-inf', NOW, 'WITHSCORES',
                       'LIMIT', 0, math.min(tonumber(ARGV[1]), 1000))
for i = 1, #due, 2 do
  redis.call('ZREM', SCHEDULED, due[i])
  local m = look(due[i])
  if m then
    make_ready(m, next_stamp(m), arrival_score(m.priority, tonumber(due[i + 1]) or now))
  else
    bury(due[i], 'has no readable message')
  end
end

resume_ends()
local expired = 0
for _, id in ipairs(redis.call('ZRANGE', READY, 0, 99)) do
  local expires = redis.pcall('HGET', message_key(id), 'expires')
  if type(expires) == 'string' and expires ~= '' and (tonumber(expires) or now + 1) <= now then
    local m = look(id)
    redis.call('ZREM', READY, id)
    if m then
      finish(m, next_stamp(m), 'EXPIRED', {'finished_at', NOW})
    else
      bury(id, 'has no readable message')
    end
    expired = expired + 1
  end
end
if expired > 0 then count('expired', expired) end

local pause = redis.call('HMGET', META, 'paused', 'paused_until')
local ends = tonumber(pause[2]) or 0
if pause[1] == '1' and ends > 0 and ends <= now then
  redis.call('HDEL', META, 'paused', 'paused_at', 'paused_by', 'paused_why', 'paused_until')
  pause[1] = nil
end
-- A token may be lost with the consumer that took it: repaired here.
if pause[1] ~= '1' and redis.call('ZCARD', READY) > 0 then wake() end
release_dependents()
write_dirty_marks()
write_counts()
local upcoming = redis.call('ZRANGE', SCHEDULED, 0, 0, 'WITHSCORES')
local left = upcoming[2] and math.max((tonumber(upcoming[2]) or now) - now, 0) or -1
return {#due / 2, expired, math.ceil(left), redis.call('HLEN', ENDED), redis.call('HLEN', RELEASES)}
