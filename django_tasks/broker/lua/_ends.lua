-- _ends: what ended in this script, and what that ends in turn: some thousand edges a call; the rest
-- waits in `ended` for the next one (release.lua, promote.lua).
local MOST_EDGES = 1000
local gone_on, left = 0, MOST_EDGES
-- `is_claiming`: whoever calls takes next from the line, and wakes others for what is left.
local function release_dependents(is_claiming)
  while ended[gone_on + 1] do
    gone_on = gone_on + 1
    local e = ended[gone_on]
    local key, value = dependents_key(e.id), nil
    local found = left > 0 and redis.pcall('HSCAN', key, 0, 'COUNT', 1000) or {'1', {}}
    local edges = found.err and {} or found[2]
    if #edges > 0 then value = input_of(e) end
    for j = 1, #edges, 2 do
      if edges[j + 1] == '' then release(edges[j], e.id, e.how, e.cause, value)
      else redis.call('HSET', RELEASES, edges[j] .. ' ' .. e.id, edges[j + 1] .. ' ' .. e.how .. ' ' .. e.cause) end
      redis.call('HDEL', key, edges[j])
      left = left - 1
    end
    if found[1] ~= '0' and not found.err then redis.call('HSET', ENDED, e.id, e.how .. ' ' .. e.cause)
    else redis.call('HDEL', ENDED, e.id) end
  end
  if woken and not is_claiming then wake() end
end
local function left_to_carry()
  return #ended > 0 and redis.call('HLEN', ENDED) + redis.call('HLEN', RELEASES) or 0
end
-- What earlier calls left.
local function resume_ends()
  local found = redis.call('HSCAN', ENDED, 0, 'COUNT', 10)[2]
  for i = 1, #found, 2 do
    local how, cause = string.match(found[i + 1], '^(%S+) (%S+)$')
    if how then ended[#ended + 1] = {id = found[i], how = how, cause = cause} end
  end
end
