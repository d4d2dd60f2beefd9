-- _dead: what is given up for another reason than its own error.
local function dead_letter(m, stamp, reason)
  finish(m, stamp, 'FAILED', {'dead_letter', reason, 'finished_at', NOW})
end

-- What has no readable message has no row: it is kept here, the last thousand.
local function bury(id, reason)
  redis.call('DEL', message_key(id))
  redis.call('LPUSH', DEAD, NOW .. ' ' .. id .. ' ' .. reason)
  redis.call('LTRIM', DEAD, 0, 999)
end
