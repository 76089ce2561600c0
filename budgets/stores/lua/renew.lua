-- ARGV: now or '', id, lease in ms, dispatched.
local id = ARGV[2]
local hold = hold_of(id)
if not hold or hold[1] ~= 'held' then return { '0' } end
redis.call('HSET', hold_key(id), 'dispatched', ARGV[4])
local ends = now_ms(ARGV[1]) + tonumber(ARGV[3])
redis.call('ZADD', prefix .. 'leases', string.format('%.0f', ends), id)
return { '1' }
