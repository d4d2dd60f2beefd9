-- released: forgets edges into other queues that were released there.
-- KEYS[1]    queue root
-- ARGV[1..]  their names in `releases`: "<child> <parent>"
-- returns    how many were known
-- dirty      nothing
-- uses       _keys
-- repeats    freely

local done = 0
for i = 1, #ARGV, 1000 do
  done = done + redis.call('HDEL', RELEASES, unpack(ARGV, i, math.min(i + 999, #ARGV)))
end
return done
