-- delivered: notes the era that delivery is done with, if it is still the present one.
-- KEYS[1]    queue root
-- ARGV[1]    era
-- returns    1 if noted
-- dirty      nothing
-- uses       _keys
-- repeats    freely

if redis.call('HGET', META, 'era') ~= ARGV[1] then return 0 end
redis.call('HSET', META, 'delivered', ARGV[1])
return 1
