-- progress: what running tasks tell of themselves, kept in their messages; nothing moves.
-- KEYS[1]    queue root
-- ARGV[1..]  per message: consumer id, message id, fence, report (JSON that begins with that fence)
-- returns    per message 1; 0 if that consumer does not hold it by that fence
-- dirty      nothing: the report is copied with the run's outcome
-- uses       _numbers _keys _message _hold
-- repeats    freely

local verdicts = {}
for i = 1, #ARGV, 4 do
  local m, verdict = look(ARGV[i + 1]), 0
  if m and is_holder(m, ARGV[i], tonumber(ARGV[i + 2])) then  -- law 3: it speaks of its own run only
    redis.call('HDEL', m.key, 'report')  -- a removal first, so that it passes at maxmemory
    redis.call('HSET', m.key, 'report', ARGV[i + 3])
    verdict = 1
  end
  verdicts[#verdicts + 1] = verdict
end
return verdicts
