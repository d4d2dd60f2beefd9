-- push: nowhere → ready, scheduled or deferred; a final message of an earlier round starts again.
-- KEYS[1]    queue root
-- ARGV[1]    "new" (from the enqueue itself) or "delivery" (after the fact: in doubt)
-- ARGV[2..]  per message: id, number of strings that follow, field, value, …
-- returns    per message 1 (pushed), 2 (completed what a re-assert knew) or 0 (known: nothing done)
-- dirty      each message pushed or completed
-- uses       _numbers _now _keys _message _dirty _line _final _count _era _edges
-- repeats    a second call finds the ids known and returns 0 for each

local is_delivery = ARGV[1] == 'delivery'
local verdicts, era, i = {}, present_era(), 2
local ready, scheduled, deferred = {}, {}, {}

-- All fields by one HSET: it comes first, so that at maxmemory a push is refused whole.
local function place(m, stamp, first, last, run_after, parents)
  local values, n = {unpack(ARGV, first, last)}, last - first + 1
  local line, score, state = ready, arrival_score(m.priority, now), 'READY'
  if parents then
    line, score, state = deferred, NOW, 'DEFERRED'
  elseif run_after > now then
    line, score, state = scheduled, digits(run_after), 'SCHEDULED'
  else
    values[n + 1], values[n + 2], n = 'score', score, n + 2
  end
  values[n + 1], values[n + 2], values[n + 3], values[n + 4] = 'state', state, 'era', era
  values[n + 5], values[n + 6], n = 'revision', digits(stamp), n + 6
  if m.fence > 0 then values[n + 1], values[n + 2], n = 'fence', digits(m.fence), n + 2 end
  if is_delivery then values[n + 1], values[n + 2] = 'doubt', '1' end
  redis.call('HSET', m.key, unpack(values))
  if parents then write_edges(waits_key(m.id), parents) end
  line[#line + 1], line[#line + 2] = score, m.id
  mark_dirty(m, stamp)
end

local function write_lines()
  for key, line in pairs({[READY] = ready, [SCHEDULED] = scheduled, [DEFERRED] = deferred}) do
    for j = 1, #line, 1000 do
      redis.call('ZADD', key, unpack(line, j, math.min(j + 999, #line)))
    end
  end
  if #ready > 0 then wake() end
end

while i < #ARGV do
  local id, length = ARGV[i], tonumber(ARGV[i + 1])
  local first, last = i + 2, i + 1 + length
  local fields = {}
  for j = first, last, 2 do fields[ARGV[j]] = ARGV[j + 1] end
  -- Of a new id, as most are, there is nothing to look at. Who depends on it may have come before.
  local is_known = redis.call('EXISTS', message_key(id), dependents_key(id)) > 0
  local m, verdict = is_known and look(id) or nil, 1
  if m and m.stub == '1' then
    -- A re-assert knew id, consumer and fence only; the run goes on, the rest comes from the row.
    verdict = 2
    for j = first, last, 2 do redis.call('HSETNX', m.key, ARGV[j], ARGV[j + 1]) end
    m.revision = math.max(m.revision, tonumber(fields.revision) or 0)
    m.database = fields.database
    local stamp = next_stamp(m)
    redis.call('HSET', m.key, 'revision', digits(stamp), 'round', fields.round or '1',
               'score', arrival_score(tonumber(fields.priority) or 0, now))
    redis.call('HDEL', m.key, 'stub')
    mark_dirty(m, stamp)
  elseif m and not (is_final(m) and m.round < (tonumber(fields.round) or 1)) then
    verdict = 0
  else
    local known = m or {fence = 0, revision = 0}
    m = {id = id, key = message_key(id), database = fields.database,
         priority = tonumber(fields.priority) or 0,
         fence = math.max(known.fence, tonumber(fields.fence) or 0),
         revision = math.max(known.revision, tonumber(fields.revision) or 0)}
    if known.id then  -- another round: what the last one left must not look like this one's
      redis.call('PERSIST', m.key)
      redis.call('HDEL', m.key, 'return_value', 'error_class', 'error_message', 'traceback',
                 'dead_letter', 'started_at', 'finished_at', 'acked', 'charged', 'worker_id',
                 'settled', 'run_after', 'expires', 'attempt', 'lost', 'suspect', 'metadata',
                 'backoff', 'args', 'kwargs', 'priority', 'max_lost', 'ttl', 'version',
                 'description', 'release', 'database', 'headers', 'cancel', 'report',
                 'parents', 'inputs', 'dependents', 'cause', 'how', 'failure', 'replaced_by')
      forget_inputs(m)
    end
    place(m, next_stamp(m), first, last, tonumber(fields.run_after) or 0, fields.parents)
    count('enqueued')
  end
  if verdict > 0 then write_dependents(id, fields.dependents, is_known) end
  verdicts[#verdicts + 1] = verdict
  i = last + 1
end
write_lines()
write_dirty_marks()
write_counts()
return verdicts
