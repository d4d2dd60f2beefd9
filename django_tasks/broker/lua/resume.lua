-- resume: the queue's messages are claimed again, from the next claim on.
-- KEYS[1]    queue root
-- returns    1; 0 if it was not paused
-- dirty      nothing
-- uses       _numbers _keys _line
-- repeats    freely

local resumed = redis.call('HDEL', META, 'paused')
redis.call('HDEL', META, 'paused_at', 'paused_by', 'paused_why', 'paused_until')
if redis.call('ZCARD', READY) > 0 then wake() end
return resumed
