-- _now: the server's clock, read once. Only this clock decides anything (law 4).
local clock = redis.call('TIME')
local now = clock[1] * 1000000 + clock[2]  -- microseconds since 1970
local NOW = digits(now)
