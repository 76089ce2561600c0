-- ARGV: now or '', id, lease in ms, sent.
local key = prefix .. 'hold:' .. ARGV[2]
local hold = call('GET', key)
if not hold or sub(hold, 1, 1) ~= 'h' then return 'ENDED' end
call('SET', key, 'h' .. ARGV[4] .. sub(hold, 3))
call('ZADD', LEASES, string.format('%.0f', now_ms(ARGV[1]) + tonumber(ARGV[3])), ARGV[2])
return 'RENEWED'
