-- ARGV: now or '', seen, then a path and its span, 'first-ms after-ms key', for each window that has
-- begun since.
local now, writes = now_ms(ARGV[1]), {}
local meta = call('HGET', SCOPES, '')
if not sound(meta, ARGV[2]) then return 'TROUBLE' end
for i = 3, #ARGV, 2 do
  local record = call('HGET', SCOPES, ARGV[i])
  local ends = record and read('<i8', record, 73)
  local from, after, key = string.match(ARGV[i + 1], '^(%d+) (%d+) (%S+)$')
  if record and ends > 0 and now >= ends and now >= tonumber(from) and now < tonumber(after) then
    local rest = sub(record, 81, 112) .. string.match(record, '\n.*$', 121)
    record = turn(ARGV[i], record, key, tonumber(after), rest)
    if not record then return 'TROUBLE' end
    writes[#writes + 1], writes[#writes + 2] = ARGV[i], record
  end
end
if #writes > 0 then
  meta = sub(meta, 1, 16) .. pack('<i8', read('<i8', meta, 17) + 1) .. sub(meta, 25)
  call('HSET', SCOPES, '', meta, unpack(writes))
end
return 'T' .. sub(meta, 1, 24)
