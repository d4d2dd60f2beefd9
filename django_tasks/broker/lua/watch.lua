-- watch: asks to be told, by a token in `done:<id>`, when a message is final.
-- KEYS[1]    queue root
-- ARGV[1]    message id
-- returns    its state; "" if it is unknown (then the token is there at once)
-- dirty      nothing
-- uses       _numbers _keys _message _final
-- repeats    freely; one token is left for whoever asked, and fades

local m = look(ARGV[1])
if not m or is_final(m) then
  tell(ARGV[1])
else
  redis.call('HSET', m.key, 'watched', '1')
end
return m and m.state or ''
