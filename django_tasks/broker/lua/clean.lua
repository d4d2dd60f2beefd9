-- clean: after the mirror's commit, removes the marks of what is still as it was written.
-- KEYS[1]    queue root
-- ARGV[1]    database alias of the rows
-- ARGV[2..]  per message: id, verb, revision, word, number of fences that follow, fence, …
--            written  revision and state that were written → unmarked; a final one leaves in `ttl` s
--            again    the same, of a message whose row was known before
--            ahead    the row's revision and fence, higher than ours → ours are raised above them
--            settled  the row's final state → the message is finished with it; of CANCELLED also how
--                     that counts for dependents, and its cause: without them these hear nothing
--            gone     the row was deleted → not running: dropped; running: dropped when it ends
--            later    the row is locked → to the tail of the marks
--            The fences are of attempts that were copied: each is removed, whatever came since.
-- returns    per message 1 if the verb was done
-- dirty      what `ahead` raises; all else is unmarked
-- uses       _numbers _now _keys _message _hold _dirty _line _final _finish _count _ready _policies _release _input _ends
-- repeats    a second call finds the mark gone, or does the same again

local database, verdicts, unmarked, i = ARGV[1], {}, {}, 2

local function unmark(m) redis.call('ZREM', dirty_key(database), m.id) end

-- A final message stays for who reads results, and so that a late delivery finds it known.
local function let_go(m) expire(m) end

local function leave_all(m)
  if is_held(m) then drop_hold(m) else leave_line(m) end
end

-- The usual case: of what is still as it was written little has to be known.
local function written(id, verb, revision, state)
  local key = message_key(id)
  local v = redis.pcall('HMGET', key, 'revision', 'state', 'ttl')
  if not v.err and v[2] then
    if tonumber(v[1]) ~= revision or v[2] ~= state then return 0 end
    local m = {key = key, state = state, ttl = tonumber(v[3]) or 3600}
    if verb == 'written' then redis.call('HSET', key, 'recorded', '1') end
    if is_final(m) then let_go(m) end
  end
  unmarked[#unmarked + 1] = id
  return 1
end

local VERBS = {
  ahead = function(m, revision, fence)
    unmark(m)
    if is_held(m) or is_final(m) then fence = '0' end  -- a holder's fence is never changed
    m.revision = math.max(m.revision, revision)
    m.fence = math.max(m.fence, tonumber(fence) or 0)
    local stamp = next_stamp(m)
    redis.call('HSET', m.key, 'revision', digits(stamp), 'fence', digits(m.fence))
    mark_dirty(m, stamp)
    return 1
  end,
  settled = function(m, revision, word)
    local state, how, cause = string.match(word, '^(%S+) ?(%S*) ?(%S*)$')
    unmark(m)
    leave_all(m)
    m.revision = math.max(m.revision, revision)
    redis.call('HDEL', m.key, 'consumer', 'suspect', 'doubt', 'stub')
    if m.record == 'first' then redis.call('HDEL', m.key, 'args', 'kwargs') end
    -- Not by a run of ours: who reads its result must ask the row.
    redis.call('HSET', m.key, 'state', state, 'revision', digits(m.revision), 'settled', '1')
    if how ~= '' then m.cause = cause end
    if how ~= '' or state ~= 'CANCELLED' then
      note_end_of(m, how ~= '' and how or ENDS[state])
    else
      redis.call('EXPIRE', dependents_key(m.id), 86400)  -- delivery tells them, or another round
    end
    let_go(m)
    count('settled')
    return 1
  end,
  gone = function(m)
    unmark(m)
    if is_held(m) then
      -- Whatever its run does next marks it again; a rerun looks at the row first.
      redis.call('HSET', m.key, 'doubt', '1')
      return 1
    else
      leave_all(m)
      redis.call('DEL', m.key)
      note_end_of(m, 'cancelled')
    end
    count('dropped')
    return 1
  end,
  later = function(m)
    unmark(m)
    redis.call('ZADD', dirty_key(database), NOW, m.id)
    return 1
  end,
}

redis.call('SREM', STOPPING, '')  -- a removal first, so that it passes at maxmemory
while i < #ARGV do
  local id, verb, revision, word = ARGV[i], ARGV[i + 1], tonumber(ARGV[i + 2]), ARGV[i + 3]
  local copied, verdict = tonumber(ARGV[i + 4]), 1
  if VERBS[verb] then
    local m = look(id)
    if m then verdict = VERBS[verb](m, revision, word) else unmarked[#unmarked + 1] = id end
  else
    verdict = written(id, verb, revision, word)
  end
  for j = i + 5, i + 4 + copied do redis.pcall('HDEL', message_key(id), 'attempt:' .. ARGV[j]) end
  verdicts[#verdicts + 1] = verdict
  i = i + 5 + copied
end
for j = 1, #unmarked, 1000 do
  redis.call('ZREM', dirty_key(database), unpack(unmarked, j, math.min(j + 999, #unmarked)))
end
release_dependents()
write_dirty_marks()
write_counts()
return verdicts
