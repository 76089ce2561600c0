-- ARGV: now or '', id, worst (packed), lease in ms, fingerprint, sent, how many paths, the paths,
-- and their spans where they were asked for.
local id, worst, last = ARGV[2], ARGV[3], 7 + tonumber(ARGV[7])
local key = prefix .. 'hold:' .. id
local known = call('GET', key)
if known then
  local _, stop = string.find(known, '\n\n', 67, true)
  if sub(known, stop + 1) ~= ARGV[5] then return { 'CONFLICT' } end
  return { 'REPEATED', sub(known, 1, 1), sub(known, 2, 2), sub(known, 3, 34) }
end
local now = now_ms(ARGV[1])
local records, refusal = accounts(now, 8, last)
if not records then return refusal end
local w1, w2, w3, w4 = read(FOUR, worst)
local writes, lines = {}, {}
for i = 1, #records do
  local record, path = records[i], ARGV[7 + i]
  local s1, s2, s3, s4, h1, h2, h3, h4, u, _, l1, l2, l3, l4 = read(RECORD, record)
  local passed = (w1 > 0 and l1 >= 0 and w1 > l1 - s1 - h1 and '0')
    or (w2 > 0 and l2 >= 0 and w2 > l2 - s2 - h2 and '1')
    or (w3 > 0 and l3 >= 0 and w3 > l3 - s3 - h3 and '2')
    or (w4 > 0 and l4 >= 0 and w4 > l4 - s4 - h4 and '3')
  if passed then return { 'DENIED', path, passed, record } end
  writes[#writes + 1] = path
  writes[#writes + 1] = pack(SUMS, s1, s2, s3, s4, h1 + w1, h2 + w2, h3 + w3, h4 + w4, u)
    .. sub(record, 73)
  lines[#lines + 1] = path .. '\t' .. string.match(record, '^[^\n]*\n', 113)
end
call('HSET', SCOPES, unpack(writes))
local accounts_held = table.concat(lines) .. '\n'
call('SET', key, 'h' .. ARGV[6] .. worst .. pack(FOUR, 0, 0, 0, 0) .. accounts_held .. ARGV[5])
call('ZADD', LEASES, string.format('%.0f', now + tonumber(ARGV[4])), id)
return 'GRANTED'
