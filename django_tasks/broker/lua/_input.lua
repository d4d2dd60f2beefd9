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
    local failure, text = v[3] or '', v[5] or ''
    -- It was cancelled since another one failed, of which nothing was handed on.
    if failure == '' and e.cause ~= e.id then return nil end
    value = failure ~= '' and failure
      or cjson.encode({e.id, v[4] or '', text ~= '' and text or v[6] or ''})
  end
  return #value <= LARGEST_INPUT and value or nil
end

