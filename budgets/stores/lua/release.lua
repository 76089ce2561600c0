-- ARGV: seen, id, and the call's task, id and record, or three ''.
local hold = call('GET', prefix .. 'hold:' .. ARGV[2])
if not hold then return unknown(ARGV[2], ARGV[1]) end
local answer = finish(ARGV[2], hold, 'r', NO_CHARGE, ARGV[1])
if ARGV[5] ~= '' and answer ~= 'TROUBLE' and sub(hold, 1, 1) == 'h' then write_call(ARGV[3], ARGV[4], ARGV[5]) end
return answer
