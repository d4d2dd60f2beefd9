-- _dirty: marks what the mirror has to copy; written at the end, one ZADD a database.
local dirty_marks = {}

local function mark(id, database, revision)
  if not database or database == '' then return end  -- record="never": no row
  local marks = dirty_marks[database] or {}
  dirty_marks[database] = marks
  marks[#marks + 1] = revision
  marks[#marks + 1] = id
end

local function mark_dirty(m, stamp) mark(m.id, m.database, digits(stamp)) end

local function write_dirty_marks()
  for database, marks in pairs(dirty_marks) do
    for i = 1, #marks, 1000 do
      redis.call('ZADD', dirty_key(database), unpack(marks, i, math.min(i + 999, #marks)))
    end
  end
end
