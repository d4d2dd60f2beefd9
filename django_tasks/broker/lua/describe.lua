-- describe: keeps a worker's description for who lists workers; it fades if nobody renews it.
-- KEYS[1]    the index, `prefix:{index}`
-- ARGV[1]    worker id
-- ARGV[2]    seconds to keep it (0: forget it now)
-- ARGV[3..]  field, value, …
-- returns    1
-- dirty      nothing
-- uses
-- repeats    freely

local key = KEYS[1] .. ':worker:' .. ARGV[1]
if ARGV[2] == '0' then
  redis.call('DEL', key)
  redis.call('SREM', KEYS[1] .. ':workers', ARGV[1])
else
  redis.call('HSET', key, unpack(ARGV, 3))
  redis.call('EXPIRE', key, ARGV[2])
  redis.call('SADD', KEYS[1] .. ':workers', ARGV[1])
end
return 1
