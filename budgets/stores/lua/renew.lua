-- ARGV: now or '', id, lease in ms, sent.
local key = prefix .. 'hold:' .. ARGV[2]
local hold = call('GET', key)
if not hold or sub(hold, 1, 1) ~= 'h' then return 'ENDED' end
-- What was sent stays sent: an older renewal of kept money may arrive after the one that sends it.
local sent = sub(hold, 2, 2) == '1' and '1' or ARGV[4]
call('SET', key, 'h' .. sent .. sub(hold, 3))
call('ZADD', LEASES, string.format('%.0f', now_ms(ARGV[1]) + tonumber(ARGV[3])), ARGV[2])
return 'RENEWED'
