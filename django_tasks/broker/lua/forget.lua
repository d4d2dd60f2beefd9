-- forget: finished → nowhere, for results that nobody will read again.
-- KEYS[1]    queue root
-- ARGV[1..]  message ids
-- returns    how many left; what its row does not say yet leaves a second after it does, what is not
--            final stays
-- dirty      nothing
-- uses       _numbers _now _keys _message _final
-- repeats    freely

local gone = 0
for i = 1, #ARGV do
  local m = look(ARGV[i])
  if m and is_final(m) then
    local database = m.database or ''
    if database == '' or not redis.call('ZSCORE', dirty_key(database), m.id) then
      redis.call('DEL', m.key, done_key(m.id))
      gone = gone + 1
    else
      redis.call('HSET', m.key, 'ttl', '1')
    end
  end
end
return gone
