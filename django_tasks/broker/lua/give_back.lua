-- give_back: unacked → ready, for messages a consumer did not start or was made to stop.
-- KEYS[1]    queue root
-- ARGV[1]    consumer id
-- ARGV[2..]  triples: message id, fence (the number its claim gave out), the run that was stopped
--            as the JSON of an attempt without its number ("" if it was not started)
-- returns    number of messages given back
-- dirty      each message given back
-- uses       _numbers _now _keys _message _hold _dirty _line _final _finish _count _ready _policies _release _input _ends _attempts
-- repeats    a second call finds nothing held by that fence and returns 0

local consumer, given = ARGV[1], 0
for i = 2, #ARGV, 3 do
  local m, fence, attempt = look(ARGV[i]), tonumber(ARGV[i + 1]), ARGV[i + 2]
  if m and is_holder(m, consumer, fence) then  -- law 3: someone else may hold it by now
    drop_hold(m)                               -- a removal first, so that it passes at maxmemory
    given = given + 1
    if m.stub == '1' and not m.cancel then
      redis.call('DEL', m.key)                 -- nothing but its id is known: delivery pushes it
    else
      if attempt ~= '' then
        -- Its number is known here, not to the supervisor, which sees ids and fences only.
        redis.call('HSET', m.key, 'attempt:' .. digits(m.fence),
                   '{"number":' .. digits(m.attempt + 1) .. ',' .. string.sub(attempt, 2, -2)
                   .. last_words(m) .. '}')
        trim_attempts(m)
      end
      -- A new fence: who gave a message back can neither ack nor re-assert it any more.
      local stamp = next_stamp(m)
      redis.call('HSET', m.key, 'fence', digits(stamp))
      make_ready(m, stamp, digits(m.score))    -- at the place in the line that it had
    end
  end
end
if given > 0 then wake() end
release_dependents()
write_dirty_marks()
write_counts()
return given
