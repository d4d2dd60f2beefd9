-- pause: from now on nothing of the queue is claimed; what runs goes on.
-- KEYS[1]    queue root
-- ARGV[1]    who
-- ARGV[2]    why ("" if nobody says)
-- ARGV[3]    when it ends by itself, µs since 1970 (0: never)
-- returns    1; 0 if it was paused already (then by whom and why is what this call says)
-- dirty      nothing
-- uses       _numbers _now _keys
-- repeats    freely

local was = redis.call('HGET', META, 'paused')
local since = was == '1' and redis.call('HGET', META, 'paused_at') or NOW
redis.call('HSET', META, 'paused', '1', 'paused_at', since, 'paused_by', ARGV[1],
           'paused_why', ARGV[2], 'paused_until', ARGV[3])
return was == '1' and 0 or 1
