-- ARGV: id, actual (packed), confirmed, and the call's task, id and record, or three ''.
local hold = call('GET', prefix .. 'hold:' .. ARGV[1])
if not hold then return 'UNKNOWN' end
local answer = settle(ARGV[1], hold, ARGV[2], ARGV[3] == '1')
if ARGV[6] ~= '' and sub(hold, 1, 1) ~= 's' then write_call(ARGV[4], ARGV[5], ARGV[6]) end
return answer
