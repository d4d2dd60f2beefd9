-- _keys: the names of a queue's keys, derived from its root; broker/keys.py says the same.
local root = KEYS[1]
local READY, SCHEDULED, UNACKED = root .. ':ready', root .. ':scheduled', root .. ':unacked'
local META, WAKE, DEAD = root .. ':meta', root .. ':wake', root .. ':dead'
local WORKERS, STOPPING = root .. ':workers', root .. ':stopping'
local CANCELS, DEFERRED = root .. ':cancels', root .. ':deferred'
local ENDED, RELEASES = root .. ':ended', root .. ':releases'

local function message_key(id) return root .. ':message:' .. id end
local function consumer_key(consumer) return root .. ':consumer:' .. consumer end
local function dirty_key(database) return root .. ':dirty:' .. database end
local function waits_key(id) return root .. ':waits:' .. id end
local function dependents_key(id) return root .. ':dependents:' .. id end
local function done_key(id) return root .. ':done:' .. id end
local function count_key(minute) return root .. ':count:' .. minute end
