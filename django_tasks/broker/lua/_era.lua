-- _era: is the broker's memory whole? A restart, failover, restore or flush starts another era.
local QUIET = 3000000  -- an era's first microseconds, in which nothing in doubt is given out

-- Some ACLs forbid INFO; then '' and whoever reconnects says so (beat.lua).
local function server_run()
  local answer = redis.pcall('INFO', 'server')
  if type(answer) ~= 'string' then return '' end
  return string.match(answer, 'run_id:(%w+)') or ''
end

-- µs since the era began. A clock that was set back since then would make it last for ever: then
-- the era counts as an old one.
local function era_age(since)
  local age = now - (tonumber(since) or now)
  return age >= 0 and age or QUIET
end

-- What a message pushed now was pushed in. A queue that no worker has seen yet has no era: the
-- server's run says as much, so that the first messages of a new queue are not in doubt. (Of an
-- earlier run it says too little: then they are, and looked up.)
local function present_era()
  local meta = redis.call('HMGET', META, 'era', 'run')
  if meta[1] or meta[2] then return meta[1] or meta[2] end
  local run = server_run()  -- asked once: eleven times as long as the rest of this
  redis.call('HSET', META, 'run', run)
  return run
end
