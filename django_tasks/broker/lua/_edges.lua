-- _edges: who waits for whom: `waits:<child>`: parent → policy and position; `dependents:<parent>`:
-- child → its queue ("" for this one).
-- Pairs for a HSET, from words "<id>:<rest>".
local function pairs_of(text)
  local found = {}
  for id, rest in string.gmatch(text, '([^%s:]+):(%S*)') do
    found[#found + 1], found[#found + 2] = id, rest
  end
  return found
end

local function write_edges(key, text)
  local edges = pairs_of(text)
  for j = 1, #edges, 1000 do
    redis.call('HSET', key, unpack(edges, j, math.min(j + 999, #edges)))
  end
end

-- `is_known`: some may have been registered before the message came (depend.lua).
local function write_dependents(id, text, is_known)
  local key = dependents_key(id)
  if text then write_edges(key, text) end
  if is_known and redis.call('PERSIST', key) + redis.call('EXISTS', key) > 0 then
    redis.call('HSETNX', message_key(id), 'dependents', '')
  end
end

-- What an earlier round was given.
local function forget_inputs(m)
  for _, name in ipairs(redis.call('HKEYS', m.key)) do
    if string.sub(name, 1, 3) == 'in:' then redis.call('HDEL', m.key, name) end
  end
end
