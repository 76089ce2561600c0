-- ARGV: now or '', seen, id, lease in ms, sent.
local id, key = ARGV[3], prefix .. 'hold:' .. ARGV[3]
local meta, hold = call('HGET', SCOPES, ''), call('GET', key)
if not sound(meta, ARGV[2]) then return 'TROUBLE' end
local seq, open, closed = read('<i8i8i8', meta, 17)
local lease = call('ZSCORE', LEASES, id)
if not lease or not hold then
  return closed == 0 and (lease or call('ZCARD', LEASES) ~= open) and 'TROUBLE' or 'ENDED'
end
-- What was sent stays sent: an older renewal of kept money may arrive after the one that sends it.
if sub(hold, 2, 2) ~= '1' and ARGV[5] == '1' then call('SET', key, 'h1' .. sub(hold, 3)) end
call('ZADD', LEASES, now_ms(ARGV[1]) + ARGV[4], id)
meta = sub(meta, 1, 16) .. pack('<i8', seq + 1) .. sub(meta, 25)
call('HSET', SCOPES, '', meta)
return 'R' .. sub(meta, 1, 24)
