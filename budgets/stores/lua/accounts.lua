-- ARGV: now or '', seen, paths, ''. Answers with their records at one moment: 'F', epoch and seq,
-- and the records, a newline behind each.
local records, stale, now = call('HMGET', SCOPES, unpack(ARGV, 3)), nil, now_ms(ARGV[1])
local count = #ARGV - 3
local meta = records[count + 1]
if not sound(meta, ARGV[2]) then return 'TROUBLE' end
for i = 1, count do
  local record = records[i]
  if not record then
    if call('HLEN', SCOPES) ~= read('<i8', meta, 41) + 1 then return 'TROUBLE' end
    return { 'MISSING', ARGV[2 + i] }
  end
  local ends = read('<i8', record, 73)
  if ends > 0 and now >= ends then
    stale = stale or { 'WINDOW', string.format('%.0f', now) }
    stale[#stale + 1] = ARGV[2 + i]
    stale[#stale + 1] = string.match(record, '^[^\n]*\n([^\n]*)', 121)
  end
end
if stale then return stale end
records[count + 1] = ''
return 'F' .. sub(meta, 1, 24) .. table.concat(records, '\n')
