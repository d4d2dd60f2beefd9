-- reap: unacked → ready, for what dead consumers held; dead letters of what kills its process.
-- KEYS[1]    queue root
-- ARGV[1]    consumer id, or "" for every consumer whose lease ran out
-- ARGV[2]    with a consumer id: how its process ended ("SIGKILL"; "" if nobody knows)
-- ARGV[3..]  with a consumer id: the ids that its board shows as running; the rest it never started
-- returns    per consumer reaped: its id, how many it held, how many were charged
-- dirty      each message taken back
-- uses       _numbers _now _keys _message _hold _dirty _line _final _finish _count _ready _policies _release _input _ends _dead _attempts
-- repeats    a second call finds the consumer unregistered and holding nothing

local reaped = {}

-- Time in which nobody could beat counts against nobody: the next beat renews all leases (law 4).
local function is_beating()
  local meta = redis.call('HMGET', META, 'last_beat', 'lease')
  local last_beat, lease = tonumber(meta[1]), tonumber(meta[2])
  return last_beat and lease and last_beat <= now and now - last_beat <= lease / 2
end

-- What the dead letter says: "killed its process 3 times (SIGKILL)".
local function reason(times, how)
  local said = 'killed its process ' .. (times == 1 and 'once' or digits(times) .. ' times')
  return how == '' and said or said .. ' (' .. how .. ')'
end

local function take_back(m, is_charged, is_suspect, how)
  drop_hold(m)
  if m.stub == '1' and not m.cancel then  -- delivery pushes the row again
    redis.call('DEL', m.key)
    return
  end
  local stamp = next_stamp(m)
  if m.cancel then  -- its process was ended for it
    if is_charged or is_suspect then note_end(m, 'cancelled', '') end
    make_ready(m, stamp)
    return
  end
  if is_charged then
    note_end(m, 'lost', how)
    trim_attempts(m)
    redis.call('HSET', m.key, 'lost', digits(m.lost + 1), 'charged', digits(m.fence))
    count('lost')
    if m.lost + 1 >= m.max_lost then
      dead_letter(m, stamp, reason(m.lost + 1, how))
      return
    end
  end
  if is_suspect then redis.call('HSET', m.key, 'suspect', '1') end
  -- The fence stays: its run may have ended after all, with the ack on its way (law 3).
  make_ready(m, stamp, digits(m.score))
end

local function reap(consumer, running, how)
  local is_stopping = redis.call('SISMEMBER', STOPPING, consumer) == 1
  redis.call('ZREM', WORKERS, consumer)  -- first: a late claim of the dead gets nothing
  redis.call('SREM', STOPPING, consumer)
  local held, guilty, charged = {}, 0, 0
  for _, id in ipairs(redis.call('HKEYS', consumer_key(consumer))) do
    local m = look(id)
    if m and m.state == 'RUNNING' and m.consumer == consumer then
      held[#held + 1] = m
      if not running or running[id] then guilty = guilty + 1 end
    end
  end
  for _, m in ipairs(held) do
    local may_be_guilty = not is_stopping and (not running or running[m.id])
    -- Of several nobody can tell which one killed the process: each runs alone next time.
    take_back(m, may_be_guilty and guilty == 1, may_be_guilty and guilty > 1, how)
    if may_be_guilty and guilty == 1 then charged = charged + 1 end
  end
  redis.call('DEL', consumer_key(consumer))
  reaped[#reaped + 1] = {consumer, #held, charged}
end

if ARGV[1] ~= '' then
  local running = {}
  for i = 3, #ARGV do running[ARGV[i]] = true end
  reap(ARGV[1], running, ARGV[2] or '')
elseif is_beating() then
  for _, consumer in ipairs(redis.call('ZRANGEBYSCORE', WORKERS, '-inf', '(' .. NOW,
                                       'LIMIT', 0, 100)) do
    reap(consumer, nil, 'its lease ran out')
  end
end
if #reaped > 0 and redis.call('ZCARD', READY) > 0 then wake() end
release_dependents()
write_dirty_marks()
write_counts()
return reaped
