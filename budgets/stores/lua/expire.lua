-- ARGV: now or '', how many at most. Ends leases that are over: forfeited where the request may
-- have left, released where the money was only kept.
local now = string.format('%.0f', now_ms(ARGV[1]))
local ended = {}
for _, id in ipairs(call('ZRANGEBYSCORE', LEASES, '-inf', now, 'LIMIT', 0, ARGV[2])) do
  local hold = call('GET', prefix .. 'hold:' .. id)
  if not hold or sub(hold, 1, 1) ~= 'h' then
    call('ZREM', LEASES, id)
  elseif sub(hold, 2, 2) == '1' then
    ended[#ended + 1] = { id, settle(id, hold, sub(hold, 3, 34), false) }
  else
    ended[#ended + 1] = { id, release(id, hold) }
  end
end
return ended
