-- ARGV: seen, id, actual (packed), 's' or 'f', and the call's task, id and record, or three ''.
local hold = call('GET', prefix .. 'hold:' .. ARGV[2])
if not hold then return unknown(ARGV[2], ARGV[1]) end
local answer = finish(ARGV[2], hold, ARGV[4], ARGV[3], ARGV[1])
if ARGV[7] ~= '' and answer ~= 'TROUBLE' and sub(hold, 1, 1) ~= 's' then write_call(ARGV[5], ARGV[6], ARGV[7]) end
return answer
