-- reassert: nowhere or ready → unacked, for what a living consumer says it runs.
-- KEYS[1]    queue root
-- ARGV[1]    consumer id
-- ARGV[2..]  per message: id, fence, number of strings that follow, field, value, … (its body, or 0)
-- returns    per message 1 (held by the consumer), 0 (refused: finished, or someone else's) or -1
--            (the consumer is not registered)
-- dirty      each message taken that has a body
-- uses       _numbers _now _keys _message _hold _dirty _line _final _era _edges
-- repeats    a second call finds the messages held and returns the same

redis.call('SREM', STOPPING, '')  -- a removal first, so that this passes at maxmemory
local function take_hold(m, consumer, fence)
  redis.call('ZADD', UNACKED, NOW, m.id)
  redis.call('HSET', consumer_key(consumer), m.id, digits(fence))
end

local consumer, verdicts, i = ARGV[1], {}, 2
local is_registered = redis.call('ZSCORE', WORKERS, consumer)

-- The broker forgot the id: all it can know is who runs it (a "stub", till a push or ack brings
-- the body).
local function remember(id, known, fence, first, last)
  local m = {id = id, key = message_key(id), fence = fence, revision = known and known.revision or 0}
  local stamp = next_stamp(m)
  if first <= last then redis.call('HSET', m.key, unpack(ARGV, first, last)) end
  -- In doubt: if its process dies, its row is looked at first.
  redis.call('HSET', m.key, 'state', 'RUNNING', 'consumer', consumer, 'fence', digits(fence),
             'revision', digits(stamp), 'era', present_era(), 'doubt', '1')
  if first > last then
    redis.call('HSET', m.key, 'stub', '1')
  else
    redis.call('HDEL', m.key, 'stub')
    m = look(id)
    redis.call('HSET', m.key, 'score', arrival_score(m.priority, now))
    write_dependents(id, m.dependents, false)
    mark_dirty(m, stamp)
  end
  take_hold(m, consumer, fence)
end

-- From now on it is a hold of this era; if its process dies, its row is looked at first.
local function hold_on(m)
  local era = present_era()
  if m.era ~= era then redis.call('HSET', m.key, 'era', era, 'doubt', '1') end
end

-- It was taken from the living consumer: reaped, or forgotten by an old append-only file, which may
-- know an earlier holder instead.
local function take_again(m, fence)
  local stamp = math.max(next_stamp(m), fence + 1)
  if is_held(m) then drop_hold(m) else leave_line(m) end
  undo_charge(m)
  redis.call('HSET', m.key, 'state', 'RUNNING', 'consumer', consumer, 'fence', digits(fence),
             'revision', digits(stamp), 'era', present_era(), 'doubt', '1')
  redis.call('HDEL', m.key, 'suspect')
  if m.cancel then redis.call('HSET', CANCELS, m.id, digits(fence) .. ' ' .. m.cancel) end
  take_hold(m, consumer, fence)
  mark_dirty(m, stamp)
end

while i < #ARGV do
  local id, fence, length = ARGV[i], tonumber(ARGV[i + 1]), tonumber(ARGV[i + 2])
  local first, last = i + 3, i + 2 + length
  local m, verdict = look(id), is_registered and 0 or -1
  if is_registered then
    if not m or (m.stub == '1' and is_holder(m, consumer, fence) and length > 0) then
      remember(id, m, fence, first, last)
      verdict = 1
    elseif is_holder(m, consumer, fence) then
      hold_on(m)
      verdict = 1
    elseif is_held(m) then
      if is_outdated_hold(m, fence) then take_again(m, fence); verdict = 1 end
    elseif not is_final(m) and fence >= m.fence and tonumber(m.acked) ~= fence then
      take_again(m, fence)
      verdict = 1
    end
  end
  verdicts[#verdicts + 1] = verdict
  i = last + 1
end
write_dirty_marks()
return verdicts
