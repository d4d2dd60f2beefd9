-- announce: makes a queue's name known to those who look at all queues (the set only grows).
-- KEYS[1]    the index, `prefix:{index}`
-- ARGV[1..]  queue names
-- returns    how many were new
-- dirty      nothing
-- uses
-- repeats    freely

redis.call('SREM', KEYS[1] .. ':queues', '')  -- a removal first, so that it passes at maxmemory
return redis.call('SADD', KEYS[1] .. ':queues', unpack(ARGV))
