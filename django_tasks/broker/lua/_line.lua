-- _line: a message's place in line, and who is woken for it.
-- At most one token: whoever takes it claims, and puts it back if something claimable is left.
local function wake()
  if redis.call('LLEN', WAKE) == 0 then redis.call('RPUSH', WAKE, '1') end
end

-- By priority, then by arrival in ms; 2^42 ms is longer than any arrival before the year 2109.
local function arrival_score(priority, at)
  return digits(-priority * 4398046511104 + math.floor(at / 1000))
end

local function leave_line(m)
  if m.state == 'READY' then redis.call('ZREM', READY, m.id) end
  if m.state == 'SCHEDULED' then redis.call('ZREM', SCHEDULED, m.id) end
  if m.state == 'DEFERRED' then
    redis.call('ZREM', DEFERRED, m.id)
    redis.call('DEL', waits_key(m.id))
  end
end
