-- _numbers: what counts as a number, and how one is written.
local read_number = tonumber

-- Foreign hands may write `nan`, `inf` or `1e300`; what a double does not hold exactly is none, so
-- that nothing fails on it after the first write (law 1).
local function tonumber(text)
  local number = read_number(text)
  if number and number > -9007199254740992 and number < 9007199254740992 then return number end
end

-- tostring() loses digits of microseconds.
local function digits(number) return string.format('%.0f', number) end
