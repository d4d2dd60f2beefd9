-- _input: what dependents get of a parent that ended, as JSON: its value, or who failed and how.
local LARGEST_INPUT = 100000  -- bytes; a larger one is read from the row

-- nil: the row is to be asked. (cjson fails on no text, whatever is in it.)
local function input_of(e)
  -- Whatever the message says of an earlier attempt, or of who did not need it.
  if e.how == 'cancelled' then return cjson.encode({e.cause, '', ''}) end
  local v = redis.pcall('HMGET', message_key(e.id), 'settled', 'return_value', 'failure', 'error_class',
                        'error_message', 'dead_letter', 'state')
  if v.err or v[1] == '1' or not v[7] then return nil end
  local value = v[2] or 'null'
  if e.how ~= 'success' then
    value = v[3] and v[3] ~= '' and v[3] or cjson.encode({e.id, v[4] or '', v[5] or v[6] or ''})
  end
  return #value <= LARGEST_INPUT and value or nil
end

