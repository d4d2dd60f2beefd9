-- _count: small counters per minute, for charts; collected, then one HINCRBY a name.
local counts = {}

local function count(name, amount) counts[name] = (counts[name] or 0) + (amount or 1) end

local function write_counts()
  if next(counts) == nil then return end
  local key = count_key(digits(math.floor(now / 60000000)))
  -- pcall: a counter that foreign hands garbled counts no more, and stops nothing.
  for name, amount in pairs(counts) do redis.pcall('HINCRBY', key, name, digits(amount)) end
  redis.call('EXPIRE', key, 172800)
end
