-- _released: what the reporting consumer lets go of; written at the end, by one call for all of it.
-- Held by the consumer itself (mostly), or waiting in line since a reap.
local released = {}
local function leave_place(m, consumer)
  if not is_held(m) then
    leave_line(m)
  elseif m.consumer == consumer then
    released[#released + 1] = m.id
  else
    drop_hold(m)  -- an outdated one
  end
end

local function write_released(consumer)
  for j = 1, #released, 1000 do
    local last = math.min(j + 999, #released)
    redis.call('ZREM', UNACKED, unpack(released, j, last))
    redis.call('HDEL', consumer_key(consumer), unpack(released, j, last))
  end
end
