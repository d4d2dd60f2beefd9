-- depend: notes who depends on parents that exist already; first it is noted, then looked at.
-- KEYS[1]    queue root
-- ARGV[1..]  triples: parent, child, the child's queue ("" for this one)
-- returns    per triple "" where the broker does not know the parent: then its row tells; "waiting"; or, if
--            it has ended, how ("success", "failure", "cancelled") and the record that was the cause
-- dirty      nothing
-- uses       _numbers _now _keys _message _dirty _final _finish
-- repeats    freely

local UNHEARD = 86400  -- seconds until what nobody pushes is forgotten; delivery notes it again

local states = {}
for i = 1, #ARGV, 3 do
  local parent, child, queue = ARGV[i], ARGV[i + 1], ARGV[i + 2]
  local m, key = look(parent), dependents_key(parent)
  if m and is_final(m) then
    local v = redis.call('HMGET', m.key, 'how', 'cause')  -- too late to be noted
    states[#states + 1] = (v[1] or ENDS[m.state]) .. ' ' .. (v[2] or parent)
  else
    redis.call('HSET', key, child, queue)
    if m then redis.call('HSETNX', m.key, 'dependents', '') else redis.call('EXPIRE', key, UNHEARD) end
    states[#states + 1] = m and m.stub ~= '1' and 'waiting' or ''
  end
end
return states
