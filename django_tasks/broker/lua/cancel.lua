-- cancel: scheduled or ready → finished; what runs is noted, for the supervisor that has it.
-- KEYS[1]    queue root
-- ARGV[1]    how a run is ended: "soft" (an exception in the task, then a grace period) or "hard";
--            "leave": not at all
-- ARGV[2..]  triples: id, round, database alias of its row ("" if it has none)
-- returns    per message: its revision once it is cancelled (the broker may know nothing of it: then a
--            mark is left, which a late push finds), 1 (it runs: noted, if it
--            is to be ended), 0 (it is final already)
-- dirty      each message cancelled
-- uses       _numbers _now _keys _message _dirty _line _final _finish _count _ready _policies _release _input _ends
-- repeats    freely: a second call finds the message final, or notes the same

redis.call('SREM', STOPPING, '')  -- a removal first, so that it passes at maxmemory
local verdicts, how = {}, ARGV[1]

-- What only its row knows (pending), or knows better (a round that was not pushed yet).
local function leave_mark(id, known, round, database)
  local m = {id = id, key = message_key(id), database = database, ttl = 3600,
             fence = known and known.fence or 0, revision = known and known.revision or 0}
  local stamp = next_stamp(m)
  redis.call('DEL', m.key)  -- also what foreign hands put there
  redis.call('HSET', m.key, 'round', digits(round), 'fence', digits(m.fence))
  if database ~= '' then redis.call('HSET', m.key, 'database', database) end
  finish(m, stamp, 'CANCELLED', {'finished_at', NOW})
  return stamp
end

for i = 2, #ARGV, 3 do
  local id, round, database = ARGV[i], tonumber(ARGV[i + 1]) or 1, ARGV[i + 2]
  local m, verdict = look(id), 0
  if not m or (is_final(m) and m.round < round) then
    verdict = leave_mark(id, m, round, database)
  elseif (m.round ~= round and m.stub ~= '1') or is_final(m) then
    verdict = 0
  elseif m.state == 'RUNNING' then
    if how ~= 'leave' then
      redis.call('HSET', m.key, 'cancel', how)
      if m.stub == '1' then  -- what its end has to know, should no push complete it before
        redis.call('HSET', m.key, 'round', digits(round), 'database', database)
      end
      redis.call('HSET', CANCELS, id, digits(m.fence) .. ' ' .. how)
    end
    verdict = 1
  else
    leave_line(m)
    verdict = next_stamp(m)
    finish(m, verdict, 'CANCELLED', {'finished_at', NOW})
    count('cancelled')
  end
  verdicts[#verdicts + 1] = digits(verdict)
end
release_dependents()
write_dirty_marks()
write_counts()
return verdicts
