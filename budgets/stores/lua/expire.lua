-- ARGV: now or '', how many at most. Ends leases that are over: forfeited where the request may
-- have left, released where the money was only kept.
local now = string.format('%.0f', now_ms(ARGV[1]))
local due = redis.call('ZRANGEBYSCORE', prefix .. 'leases', '-inf', now, 'LIMIT', 0, ARGV[2])
local ended = {}
for _, id in ipairs(due) do
  local hold = hold_of(id)
  if not hold or hold[1] ~= 'held' then
    redis.call('ZREM', prefix .. 'leases', id)
  elseif hold[5] == '1' then
    ended[#ended + 1] = settle(id, hold, numbers(hold[2]), false)
  else
    ended[#ended + 1] = release(id, hold)
  end
end
return ended
