-- ARGV: id, and the call's task, id and record, or three ''.
local hold = hold_of(ARGV[1])
if not hold then return { 'UNKNOWN' } end
local answer = release(ARGV[1], hold)
if ARGV[4] ~= '' and hold[1] == 'held' then write_call(ARGV[2], ARGV[3], ARGV[4]) end
return answer
