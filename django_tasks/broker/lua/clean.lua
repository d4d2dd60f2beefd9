-- clean: after the mirror's commit, removes the marks of what is still as it was written.
-- KEYS[1]    queue root
-- ARGV[1]    database alias of the rows
-- ARGV[2..]  per message: id, verb, revision, word, number of fences that follow, fence, …
--            written  revision and state that were written → unmarked; a final one leaves in `ttl` s
--            ahead    the row's revision and fence, higher than ours → ours are raised above them
--            settled  the row's final state → the message is finished with it
--            gone     the row was deleted → not running: dropped; running: dropped when it ends
--            later    the row is locked → to the tail of the marks
--            The fences are of attempts that were copied: each is removed, whatever came since.
-- returns    per message 1 if the verb was done
-- dirty      what `ahead` raises; all else is unmarked
-- uses       _numbers _now _keys _message _hold _dirty _ready _finish _count
-- repeats    a second call finds the mark gone, or does the same again

local database, verdicts, i = ARGV[1], {}, 2

local function unmark(m) redis.call('ZREM', dirty_key(database), m.id) end  -- also at maxmemory

-- A final message stays for who reads results, and so that a late delivery finds it known.
local function let_go(m) expire(m) end

local function leave_all(m)
  if is_held(m) then drop_hold(m) else leave_line(m) end
end

local VERBS = {
  written = function(m, revision, state)
    if m.revision ~= revision or m.state ~= state then return 0 end
    unmark(m)
    redis.call('HSET', m.key, 'recorded', '1')
    if is_final(m) then let_go(m) end
    return 1
  end,
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
  settled = function(m, revision, state)
    unmark(m)
    leave_all(m)
    m.revision = math.max(m.revision, revision)
    redis.call('HDEL', m.key, 'consumer', 'suspect', 'doubt', 'stub')
    if m.record == 'first' then redis.call('HDEL', m.key, 'args', 'kwargs') end
    -- Not by a run of ours: who reads its result must ask the row.
    redis.call('HSET', m.key, 'state', state, 'revision', digits(m.revision), 'settled', '1')
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

while i < #ARGV do
  local id, verb, revision, word = ARGV[i], ARGV[i + 1], tonumber(ARGV[i + 2]), ARGV[i + 3]
  local copied = tonumber(ARGV[i + 4])
  local m = look(id)
  if m then
    for j = i + 5, i + 4 + copied do redis.call('HDEL', m.key, 'attempt:' .. ARGV[j]) end
    verdicts[#verdicts + 1] = VERBS[verb](m, revision, word)
  else
    redis.call('ZREM', dirty_key(database), id)  -- the message left; only its mark is here
    verdicts[#verdicts + 1] = 1
  end
  i = i + 5 + copied
end
write_dirty_marks()
write_counts()
return verdicts
