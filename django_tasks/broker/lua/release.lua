-- release: deferred → ready, scheduled or finished, as the end of a parent means it; and goes on with
-- what earlier ends left.
-- KEYS[1]    queue root
-- ARGV[1..]  per edge: child, parent, how the parent ended ("success", "failure", "cancelled"), the record
--            that was the cause, the child's input ("=" and its JSON; "" for none); how may also be
--            "replaced": the child waits for the cause from now on
-- returns    how many edges were let go, how many ends and how many edges into other queues are left
-- dirty      each message released
-- uses       _numbers _now _keys _message _dirty _line _final _finish _count _ready _policies _release _input _ends
-- repeats    freely: a second call finds that the child does not wait for the parent

local done = 0
for i = 1, #ARGV, 5 do
  local value = string.sub(ARGV[i + 4], 1, 1) == '=' and string.sub(ARGV[i + 4], 2) or nil
  done = done + release(ARGV[i], ARGV[i + 1], ARGV[i + 2], ARGV[i + 3], value)
end
resume_ends()
release_dependents()
write_dirty_marks()
write_counts()
return {done, redis.call('HLEN', ENDED), redis.call('HLEN', RELEASES)}
