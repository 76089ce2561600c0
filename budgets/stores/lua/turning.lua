-- Puts the sums of a record away and takes up those of the window `key`, which ends at `after`;
-- `rest` is limits and the lines behind the first. Nil where windows that have ended are missing.
local function turn(path, record, key, after, rest)
  local past = prefix .. 'past:' .. path
  local ident, turned = string.match(record, '^[^\n]*', 121), read('<i8', record, 113)
  if call('HLEN', past) ~= turned then return nil end
  if sub(ident, -1) ~= '?' then turned = turned + call('HSET', past, ident, sub(record, 1, 72)) end
  local now_ident = string.match(ident, '^%d+') .. ' ' .. key
  local sums = key ~= '?' and call('HGET', past, now_ident) or string.rep('\0', 72)
  return sums .. pack('<i8', after) .. sub(rest, 1, 32) .. pack('<i8', turned) .. now_ident .. sub(rest, 33)
end
