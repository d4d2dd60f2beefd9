-- _release: a parent's end lets its dependents go, or ends them too: deferred → ready, scheduled or
-- finished.
local woken = false

local function cancel_dependent(c, parent, how, cause, failure)
  leave_line(c)
  -- What nobody needs any more is cancelled; what can't be made up for has failed too.
  c.how, c.cause = how == 'failure' and 'failure' or 'cancelled', cause
  finish(c, next_stamp(c), 'CANCELLED',
         {'finished_at', NOW, 'cause', cause, 'how', c.how, 'failure', failure or '', 'error_class',
          'django_tasks.errors.' .. ERROR[how], 'error_message', 'parent ' .. parent .. ' ' ..
          SAID[how] .. (cause == parent and '' or ', since ' .. cause .. ' did')})
  count('cancelled')
end

-- Once: who is not waited for any more releases nothing. `value`: JSON of the child's input.
local function release(child, parent, how, cause, value)
  local wait = redis.pcall('HGET', waits_key(child), parent)
  local c = type(wait) == 'string' and look(child)
  if not c or c.state ~= 'DEFERRED' then return 0 end
  if how == 'replaced' then  -- by `cause`: waited for from now on, on the same terms
    redis.call('HSET', waits_key(child), cause, wait)
    return redis.call('HDEL', waits_key(child), parent)
  end
  local policy, position = string.match(wait, '^(%a+):(%d*)$')
  if not (RUNS[policy] or {})[how] then
    cancel_dependent(c, parent, how, cause, how == 'failure' and value)
    return 1
  end
  redis.call('HDEL', waits_key(child), parent)
  if how ~= 'success' and (policy == 'any' or policy == 'early') then value = 'null' end
  if position ~= '' and value then redis.call('HSET', c.key, 'in:' .. position, value) end
  if (policy == 'early' and how ~= 'success') or redis.call('HLEN', waits_key(child)) == 0 then
    local at = tonumber(redis.call('HGET', c.key, 'run_after')) or 0
    leave_line(c)
    if at > now then make_scheduled(c, next_stamp(c), at)
    else make_ready(c, next_stamp(c), arrival_score(c.priority, now)); woken = true end
  end
  return 1
end
