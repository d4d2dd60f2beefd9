-- watch: asks to be told, by a token in `done:<id>`, when a message is final.
-- KEYS[1]    queue root
-- ARGV[1]    message id
-- returns    its state; "" if it is unknown
-- dirty      nothing
-- uses       _numbers _now _keys _message _dirty _finish
-- repeats    freely; one token is left for whoever asked, and fades

local m = look(ARGV[1])
if not m then return '' end
if is_final(m) then
  tell(m.id)
else
  redis.call('HSET', m.key, 'watched', '1')
end
return m.state
