-- ARGV: now or '', seen, how many at most. Ends leases that are over: forfeited where the request may
-- have left, released where the money was only kept. While the org is closed none is over. Each row
-- of the answer is an id and how it ended; a row 'TROUBLE' comes last.
local meta, ended = call('HGET', SCOPES, ''), {}
if not sound(meta, ARGV[2]) or call('ZCARD', LEASES) ~= read('<i8', meta, 25) then return { { '', 'TROUBLE' } } end
if read('<i8', meta, 33) ~= 0 then return ended end
for _, id in ipairs(call('ZRANGEBYSCORE', LEASES, '-inf', now_ms(ARGV[1]), 'LIMIT', 0, ARGV[3])) do
  local hold = call('GET', prefix .. 'hold:' .. id)
  local answer = 'TROUBLE'
  if hold and sub(hold, 1, 1) == 'h' then
    local sent = sub(hold, 2, 2) == '1'
    answer = finish(id, hold, sent and 'f' or 'r', sent and sub(hold, 3, 34) or NO_CHARGE, ARGV[2])
  end
  ended[#ended + 1] = { id, answer }
  if answer == 'TROUBLE' then break end
end
return ended
