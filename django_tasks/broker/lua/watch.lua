-- watch: asks to be told, by a token in `done:<id>`, when a message is final.
-- KEYS[1]    queue root
-- ARGV[1]    message id
-- returns    its state; "" if it is unknown (then the token is there at once)
-- dirty      nothing
-- uses       _keys _final
-- repeats    freely; one token is left for whoever asked, and fades

local key = message_key(ARGV[1])
local state = redis.pcall('HGET', key, 'state')
if type(state) ~= 'string' or is_final({state = state}) then  -- what foreign hands put there: unknown
  tell(ARGV[1])
else
  redis.call('HSET', key, 'watched', '1')
end
return type(state) == 'string' and state or ''
