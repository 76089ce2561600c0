-- What a store's `charge` decides, and its effect: a settled reservation stays, a forfeited one is
-- corrected by a settlement only, what is over is not released. Takes the hold off and puts `actual`
-- on, in every account that is still the one it was made against. Answers one string: 'E', epoch and
-- seq, the states before and after, the charges after and before, the worst case; then, where it moved
-- anything, the lines of the hold and an empty one, for each line 'c', 'p' where its window has ended or
-- '-' where its scope is gone, the length of each record (four bytes), and the records.
local KEPT_SECONDS = 7 * 86400

local function finish(id, hold, want, actual, seen)
  local paths, idents, count = {}, {}, 0
  local lines = sub(hold, 67, string.find(hold, '\n\n', 67, true))
  for path, ident in string.gmatch(lines, '([^\t]*)\t([^\n]*\n)') do
    count = count + 1
    paths[count], idents[count] = path, ident
  end
  local past = {}
  paths[count + 1] = ''
  local records = call('HMGET', SCOPES, unpack(paths))
  local meta = records[count + 1]
  if not sound(meta, seen) then return 'TROUBLE' end
  for i = 1, count do
    local record, ident = records[i], idents[i]
    if record and sub(record, 121, 120 + #ident) ~= ident then
      past[i] = call('HGET', prefix .. 'past:' .. paths[i], sub(ident, 1, -2))
      local lost = not past[i] and string.match(ident, '^%S+') == string.match(record, '^%S+', 121)
      if lost and sub(hold, 1, 1) == 'h' and read('<i8', meta, 33) == 0 then return 'TROUBLE' end
      records[i] = past[i] and past[i] .. sub(record, 73)
    end
  end
  local seq, open = read('<i8i8', meta, 17)
  local before, worst, charged = sub(hold, 1, 1), sub(hold, 3, 34), sub(hold, 35, 66)
  if before == 'h' and call('ZREM', LEASES, id) == 0 then
    if call('ZCARD', LEASES) ~= open then return 'TROUBLE' end
    before, charged = 'f', worst -- it was charged when the org was opened again without its lease
  end
  if before == 's' or (before == 'f' and want ~= 's') or (before ~= 'h' and want == 'r') then
    return 'E' .. sub(meta, 1, 24) .. before .. before .. charged .. charged .. worst
  end
  local w1, w2, w3, w4 = read('<i8i8i8i8', worst)
  local c1, c2, c3, c4 = read('<i8i8i8i8', charged)
  local a1, a2, a3, a4 = read('<i8i8i8i8', actual)
  if before == 'h' then
    open = open - 1
  else
    w1, w2, w3, w4 = 0, 0, 0, 0
  end
  local doubt = (want == 'f' and a1 or 0) - (before == 'f' and c1 or 0)
  c1, c2, c3, c4 = a1 - c1, a2 - c2, a3 - c3, a4 - c4
  meta = sub(meta, 1, 16) .. pack('<i8i8', seq + 1, open) .. sub(meta, 33)
  local writes, parts, flags, sizes, at = { '', meta }, {}, {}, {}, 2
  for i = 1, count do
    local record, path = records[i], paths[i]
    if not record then
      parts[i], flags[i], sizes[i] = '', '-', 0
    else
      local s1, s2, s3, s4, h1, h2, h3, h4, u = read('<i8i8i8i8i8i8i8i8i8', record)
      local sums = pack('<i8i8i8i8i8i8i8i8i8', s1 + c1, s2 + c2, s3 + c3, s4 + c4, h1 - w1, h2 - w2, h3 - w3, h4 - w4, u + doubt)
      record = sums .. sub(record, 73)
      parts[i], flags[i], sizes[i] = record, 'c', #record
      if past[i] then
        flags[i] = 'p'
        call('HSET', prefix .. 'past:' .. path, sub(idents[i], 1, -2), sums)
      else
        writes[at + 1], writes[at + 2] = path, record
        at = at + 2
      end
    end
  end
  call('HSET', SCOPES, unpack(writes))
  call('SET', prefix .. 'hold:' .. id, want .. sub(hold, 2, 34) .. actual .. sub(hold, 67), 'EX', KEPT_SECONDS)
  return 'E' .. sub(meta, 1, 24) .. before .. want .. actual .. charged .. worst .. lines .. '\n'
    .. table.concat(flags) .. pack('<' .. string.rep('I4', count), unpack(sizes)) .. table.concat(parts)
end

-- A hold that is not there: unknown, or lost while its lease, or any lease, says that it was here.
local function unknown(id, seen)
  local meta = call('HGET', SCOPES, '')
  if not sound(meta, seen) then return 'TROUBLE' end
  local _, open, closed = read('<i8i8i8', meta, 17)
  local lost = call('ZSCORE', LEASES, id) or call('ZCARD', LEASES) ~= open
  return lost and closed == 0 and 'TROUBLE' or 'UNKNOWN'
end

local function write_call(task_id, call_id, record)
  if call('HSET', prefix .. 'calls:' .. task_id, call_id, record) == 1 then
    call('RPUSH', prefix .. 'order:' .. task_id, call_id)
  end
end
