-- ARGV: now or '', id, worst (four), lease in ms, fingerprint, dispatched, then path and span pairs.
local id = ARGV[2]
local known = redis.call('HMGET', hold_key(id), 'fingerprint', 'state', 'worst', 'dispatched')
if known[1] then
  if known[1] ~= ARGV[8] then return { 'CONFLICT' } end
  return { 'REPEATED', known[2], known[3], known[4] }
end
local now = now_ms(ARGV[1])
local found, refusal = accounts(now, 10)
if not found then return refusal end
local worst = { tonumber(ARGV[3]), tonumber(ARGV[4]), tonumber(ARGV[5]), tonumber(ARGV[6]) }
for _, each in ipairs(found) do
  each.numbers = numbers(each.sums)
  if each.limits ~= '- - - -' then
    local limits = numbers(each.limits)
    for i = 1, 4 do
      local settled, held = each.numbers[i], each.numbers[i + 4]
      if limits[i] and worst[i] > 0 and worst[i] > limits[i] - settled - held then
        local sums = { limits[i] - settled - held, limits[i], settled, held }
        return { 'DENIED', each.path, tostring(i), text(sums, 1, 4) }
      end
    end
  end
end
local lines = {}
for _, each in ipairs(found) do
  local sums, at = each.numbers, scope_key(each.path)
  for i = 1, 4 do sums[i + 4] = sums[i + 4] + worst[i] end
  redis.call('HSET', at, 'sums:' .. each.key, text(sums, 1, 9))
  if each.span then redis.call('HSET', at, 'span', each.span) end
  lines[#lines + 1] = each.path .. ' ' .. each.born .. ' ' .. each.key .. '\n'
end
redis.call(
  'HSET', hold_key(id), 'state', 'held', 'fingerprint', ARGV[8], 'worst', text(worst, 1, 4),
  'charged', '0 0 0 0', 'accounts', table.concat(lines), 'dispatched', ARGV[9]
)
redis.call('ZADD', prefix .. 'leases', string.format('%.0f', now + tonumber(ARGV[7])), id)
return { 'GRANTED' }
