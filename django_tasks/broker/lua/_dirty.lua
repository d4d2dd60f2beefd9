-- _dirty: marks what the mirror has to copy; written at the end, one ZADD a database.
local dirty_marks = {}

local function mark_dirty(m, stamp)
  if not m.database or m.database == '' then return end  -- record="never": no row
  local marks = dirty_marks[m.database] or {}
  dirty_marks[m.database] = marks
  marks[#marks + 1] = digits(stamp)
  marks[#marks + 1] = m.id
end

local function write_dirty_marks()
  for database, marks in pairs(dirty_marks) do
    for i = 1, #marks, 1000 do
      redis.call('ZADD', dirty_key(database), unpack(marks, i, math.min(i + 999, #marks)))
    end
  end
end
