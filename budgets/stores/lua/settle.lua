-- ARGV: id, actual (four), confirmed, and the call's task, id and record, or three ''.
local hold = hold_of(ARGV[1])
if not hold then return { 'UNKNOWN' } end
local actual = { tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4]), tonumber(ARGV[5]) }
local answer = settle(ARGV[1], hold, actual, ARGV[6] == '1')
if ARGV[9] ~= '' and hold[1] ~= 'settled' then write_call(ARGV[7], ARGV[8], ARGV[9]) end
return answer
