-- describe: keeps a worker's description for who lists workers; it fades if nobody renews it.
-- KEYS[1]    the index, `prefix:{index}`
-- ARGV[1]    worker id
-- ARGV[2]    seconds to keep it (0: forget it now)
-- ARGV[3..]  field, value, …
-- returns    1
-- dirty      nothing
-- uses
-- repeats    freely

redis.call('SREM', KEYS[1] .. ':workers', '')  -- a removal first, so that it passes at maxmemory
-- Those who died without a word.
for _, name in ipairs(redis.call('SRANDMEMBER', KEYS[1] .. ':workers', 10)) do
  if redis.call('EXISTS', KEYS[1] .. ':worker:' .. name) == 0 then
    redis.call('SREM', KEYS[1] .. ':workers', name)
  end
end

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
