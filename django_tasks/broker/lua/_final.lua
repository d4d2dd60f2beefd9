-- _final: is a message final, and who is told.
local function is_final(m)
  return m.state == 'SUCCESSFUL' or m.state == 'FAILED' or m.state == 'CANCELLED'
    or m.state == 'EXPIRED'
end

-- Whoever waits for its result blocks on this; the token fades if nobody took it.
local function tell(id)
  redis.call('RPUSH', done_key(id), '1')
  redis.call('EXPIRE', done_key(id), 5)
end
