-- claim: ready → unacked, in the order of the line; the expired ones on the way → finished.
-- KEYS[1]    queue root
-- ARGV[1]    consumer id
-- ARGV[2]    at most how many (1,000 is the limit)
-- returns    per message its id, its fence, "1" if it is in doubt, and its fields: name, value, …
-- dirty      each message claimed or expired
-- uses       _numbers _now _keys _message _dirty _line _final _finish _dead _count _era _claim _ready _policies _release _input _ends
-- repeats    no: a repeated call claims more; who lost an answer asks `consumer:<id>` what it holds

local claimed = claim_next(ARGV[1], tonumber(ARGV[2]))
release_dependents()
write_dirty_marks()
write_counts()
return claimed
