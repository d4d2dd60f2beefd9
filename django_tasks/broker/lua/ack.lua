-- ack: unacked → finished, scheduled or ready, as each outcome says; then claims, if asked.
-- KEYS[1]    queue root
-- ARGV[1]    consumer id
-- ARGV[2]    how many to claim next (0: none)
-- ARGV[3]    number of outcomes
-- ARGV[4..]  per outcome: id, fence, outcome, delay µs, run µs, number of strings, field, value, …
-- returns    verdicts (per outcome 1 accepted, 0 refused, -1 unknown here: re-assert, then repeat)
--            the claimed messages, as claim returns them; how many ends and edges into other queues are
--            left to go on with (0 where this call ended no parent)
-- dirty      each message accepted or claimed
-- uses       _numbers _now _keys _message _hold _dirty _line _released _final _finish _count _ready _policies _release _input _ends _dead _attempts _era _usual _claim
-- repeats    the acknowledgement: the same fence gets the same answer and counts once; not the claim

local FINAL = {succeeded = 'SUCCESSFUL', failed = 'FAILED', cancelled = 'CANCELLED',
               expired = 'EXPIRED', undecodable = 'FAILED'}
local consumer, limit = ARGV[1], tonumber(ARGV[2])
local verdicts, i = {}, 4

-- Law 3: his while he holds it; while nobody does, if no later claim exists.
local function is_accepted(m, fence)
  if is_held(m) then
    return is_holder(m, consumer, fence) or is_outdated_hold(m, fence)
  end
  return not is_final(m) and fence >= m.fence
end

local function settle(m, fence, outcome, delay, first, last)
  m.fence = math.max(m.fence, fence)  -- the broker may have gone back before this very claim
  local stamp = next_stamp(m)
  leave_place(m, consumer)
  undo_charge(m)
  if outcome == 'dropped' or outcome == 'settled' then  -- its row is gone, or final already
    redis.call('DEL', m.key)
    if m.database then redis.call('ZREM', dirty_key(m.database), m.id) end
    if outcome == 'dropped' then note_end_of(m, 'cancelled') end
    if outcome == 'settled' and first < last then  -- "how", "cause": as its row says
      m.cause = ARGV[first + 3]
      note_end_of(m, ARGV[first + 1])
    elseif outcome == 'settled' then  -- only its row knows: delivery tells its dependents
      redis.call('EXPIRE', dependents_key(m.id), 86400)
    end
    return
  end
  if outcome == 'buried' then  -- no id that a row could have
    bury(m.id, ARGV[last] or '')
    return
  end
  local fields = {'acked', digits(fence), 'fence', digits(m.fence), unpack(ARGV, first, last)}
  if outcome == 'failed' or outcome == 'retried' then
    fields[#fields + 1], fields[#fields + 2] = 'attempt', digits(m.attempt + 1)
  end
  if FINAL[outcome] then
    if outcome == 'undecodable' then  -- what it said of its database may be what can't be read
      for j = first, last, 2 do if ARGV[j] == 'database' then m.database = ARGV[j + 1] end end
    end
    finish(m, stamp, FINAL[outcome], fields)
  else
    redis.call('HDEL', m.key, 'suspect', 'doubt')
    redis.call('HSET', m.key, 'era', redis.call('HGET', META, 'era') or m.era or '',
               unpack(fields))
    if delay > 0 then
      make_scheduled(m, stamp, now + delay)
    else
      make_ready(m, stamp, arrival_score(m.priority, now))
      wake()
    end
  end
  if outcome ~= 'succeeded' then trim_attempts(m) end  -- the mirror makes one of the message itself
end

local function note(m, outcome, run)
  local wait = m.fence - (m.score + m.priority * 4398046511104) * 1000
  count(outcome)
  count('runs')
  count('run_us', run or 0)
  count('wait_us', math.min(math.max(wait, 0), 1e12))
end

redis.call('SREM', STOPPING, '')  -- a removal first, so that acks pass at maxmemory
local outcomes = tonumber(ARGV[3])
local holds = holds_of(consumer, outcomes, i)
for _ = 1, outcomes do
  local id, fence, outcome = ARGV[i], tonumber(ARGV[i + 1]), ARGV[i + 2]
  local delay, run, length = tonumber(ARGV[i + 3]), tonumber(ARGV[i + 4]), tonumber(ARGV[i + 5])
  local m, verdict = brief(id, ARGV[i + 1], outcome, holds), 1
  if m then
    released[#released + 1] = id
    finish(m, next_stamp(m), 'SUCCESSFUL', {'acked', ARGV[i + 1], unpack(ARGV, i + 6, i + 5 + length)})
    note(m, outcome, run)
  else
    m = look(id)
    if not m or m.stub == '1' then
      verdict = -1
    elseif tonumber(m.acked) == fence then
      verdict = 1
    elseif is_accepted(m, fence) then
      settle(m, fence, outcome, delay, i + 6, i + 5 + length)
      note(m, outcome, run)
    else
      verdict = 0
      count('refused')
    end
  end
  holds[id] = nil
  verdicts[#verdicts + 1] = verdict
  i = i + 6 + length
end
write_released(consumer)
release_dependents(limit > 0)  -- what became ready is claimed in the same call
local claimed = claim_next(consumer, limit)
woken = woken and #claimed == 0
release_dependents()
write_dirty_marks()
write_counts()
return {verdicts, claimed, left_to_carry()}
