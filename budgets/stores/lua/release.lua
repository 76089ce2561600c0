-- ARGV: id, and the call's task, id and record, or three ''.
local hold = call('GET', prefix .. 'hold:' .. ARGV[1])
if not hold then return 'UNKNOWN' end
local answer = release(ARGV[1], hold)
if ARGV[4] ~= '' and sub(hold, 1, 1) == 'h' then write_call(ARGV[2], ARGV[3], ARGV[4]) end
return answer
