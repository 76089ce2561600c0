-- ARGV: now or '', seen, id, worst (packed), lease in ms, fingerprint, sent, paths, ''. A grant is
-- one string, for every element of an answer costs the client time: 'G', epoch and seq, the lines of
-- the hold, an empty line, and the records, a newline behind each.
local id, worst, count = ARGV[3], ARGV[4], #ARGV - 8
local records = call('HMGET', SCOPES, unpack(ARGV, 8))
local meta = records[count + 1]
if not sound(meta, ARGV[2]) then return 'TROUBLE' end
local seq, open, closed = read('<i8i8i8', meta, 17)
if closed ~= 0 then return 'TROUBLE' end
local now, key = now_ms(ARGV[1]), prefix .. 'hold:' .. id
local w1, w2, w3, w4 = read('<i8i8i8i8', worst)
local writes, lines, refusal, at = {}, {}, nil, 1
for i = 1, count do
  local record, path = records[i], ARGV[7 + i]
  if not record then
    if call('HLEN', SCOPES) ~= read('<i8', meta, 41) + 1 then return 'TROUBLE' end
    refusal = { 'MISSING', path }
    break
  end
  local s1, s2, s3, s4, h1, h2, h3, h4, _, ends, l1, l2, l3, l4 = read('<i8i8i8i8i8i8i8i8i8i8i8i8i8i8', record)
  if ends > 0 and now >= ends then
    refusal = refusal and refusal[1] == 'WINDOW' and refusal or { 'WINDOW', string.format('%.0f', now) }
    refusal[#refusal + 1] = path
    refusal[#refusal + 1] = string.match(record, '^[^\n]*\n([^\n]*)', 121)
  end
  local which = (l1 >= 0 and w1 > 0 and w1 > l1 - s1 - h1 and '0')
    or (l2 >= 0 and w2 > 0 and w2 > l2 - s2 - h2 and '1')
    or (l3 >= 0 and w3 > 0 and w3 > l3 - s3 - h3 and '2')
    or (l4 >= 0 and w4 > 0 and w4 > l4 - s4 - h4 and '3')
  if which then refusal = refusal or { 'DENIED', path, which, record } end
  writes[at], writes[at + 1] = path, sub(record, 1, 32) .. pack('<i8i8i8i8', h1 + w1, h2 + w2, h3 + w3, h4 + w4)
    .. sub(record, 65)
  lines[i] = path .. '\t' .. string.match(record, '^[^\n]*\n', 121)
  at = at + 2
end
local held = table.concat(lines)
local hold = 'h' .. ARGV[7] .. worst .. NO_CHARGE .. held .. '\n' .. ARGV[6]
local known = refusal and call('GET', key) or (not refusal and not call('SET', key, hold, 'NX') and call('GET', key))
if known then
  local _, stop = string.find(known, '\n\n', 67, true)
  if sub(known, stop + 1) ~= ARGV[6] then return { 'CONFLICT' } end
  return { 'REPEATED', sub(known, 1, 1), sub(known, 2, 2), sub(known, 3, 34) }
end
if refusal then return refusal end
meta = sub(meta, 1, 16) .. pack('<i8i8', seq + 1, open + 1) .. sub(meta, 33)
writes[at], writes[at + 1] = '', meta
call('HSET', SCOPES, unpack(writes))
call('ZADD', LEASES, now + ARGV[5], id)
local answer = { 'G' .. sub(meta, 1, 24) .. held }
for i = 1, count do answer[i + 1] = writes[2 * i] end
answer[count + 2] = ''
return table.concat(answer, '\n')
