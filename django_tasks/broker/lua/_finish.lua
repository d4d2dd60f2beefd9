-- _finish: the one way into a final state. The message stays until its row says the same.
-- While the mirror is behind, what is final comes before what is not and is up to 10 s older: it is
-- written once, and leaves; what waits or runs would soon have to be written again.
local HEAD_START = 10000000
-- As what a parent's end counts for its dependents; what is cancelled since a parent failed has
-- failed as well (`how`).
local ENDS = {SUCCESSFUL = 'success', FAILED = 'failure', EXPIRED = 'failure', CANCELLED = 'cancelled'}
local ended = {}  -- those that have dependents: released at the script's end (_release)

local function expire(m)
  redis.call('EXPIRE', m.key, digits(math.min(math.max(m.ttl, 1), 1000000000)))
end

local function note_end_of(m, how)
  if m.dependents then ended[#ended + 1] = {id = m.id, how = how, cause = m.cause or m.id} end
end

-- `fields`: field, value, … that are written with it.
local function finish(m, stamp, state, fields)
  -- The row has the arguments since the INSERT: half the memory (that of "after" may come later).
  if m.record == 'first' then
    redis.call('HDEL', m.key, 'consumer', 'suspect', 'doubt', 'args', 'kwargs')
  else
    redis.call('HDEL', m.key, 'consumer', 'suspect', 'doubt')
  end
  redis.call('HSET', m.key, 'state', state, 'revision', digits(stamp), unpack(fields))
  note_end_of(m, m.how or ENDS[state])
  if m.watched then
    redis.call('HDEL', m.key, 'watched')
    tell(m.id)
  end
  if m.database and m.database ~= '' then
    mark(m.id, m.database, digits(stamp - HEAD_START))
  else
    expire(m)
  end
end
