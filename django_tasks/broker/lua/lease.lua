-- lease: one holder at a time for a duty; correctness never depends on it, only thrift.
-- KEYS[1]    the duties, `prefix:{duties}`
-- ARGV[1]    name of the duty
-- ARGV[2]    who asks
-- ARGV[3]    milliseconds to hold it (0: let it go)
-- returns    1 if the asker holds it now
-- dirty      nothing
-- uses
-- repeats    freely

local key = KEYS[1] .. ':' .. ARGV[1]
local holder = redis.call('GET', key)
if holder and holder ~= ARGV[2] then return 0 end
if ARGV[3] == '0' then
  redis.call('DEL', key)
  return 0
end
redis.call('DEL', key)  -- a removal first, so that it passes at maxmemory
redis.call('SET', key, ARGV[2], 'PX', ARGV[3])
return 1
