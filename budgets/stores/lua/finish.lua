-- What a store's `charge` decides, and its effect: a settled reservation stays, a forfeited one is
-- corrected by a settlement only, what is over is not released. Takes the hold off and puts `actual`
-- on, in every account that is still the one it was made against. Answers one string: 'E', epoch and
-- seq, the states before and after, the charges after and before, the worst case, how many scopes (one
-- byte), the numbers of all their records, then for each 'c' or, where its window has ended, 'p', its
-- path and the lines of its record, a newline behind each.
local KEPT_SECONDS = 7 * 86400

local function finish(id, hold, want, actual, seen)
  local paths, idents = {}, {}
  for path, ident in string.gmatch(sub(hold, 67, string.find(hold, '\n\n', 67, true)), '([^\t]*)\t([^\n]*\n)') do
    paths[#paths + 1], idents[#idents + 1] = path, ident
  end
  local count, past = #paths, {}
  paths[count + 1] = ''
  local records = call('HMGET', SCOPES, unpack(paths))
  local meta = records[count + 1]
  if not sound(meta, seen) then return 'TROUBLE' end
  for i = 1, count do
    local record, ident = records[i], idents[i]
    if record and sub(record, 121, 120 + #ident) ~= ident then
      past[i] = call('HGET', prefix .. 'past:' .. paths[i], sub(ident, 1, -2))
      local lost = not past[i] and string.match(ident, '^%S+') == string.match(record, '^%S+', 121)
      if lost and sub(hold, 1, 1) == 'h' and read('<d', meta, 33) == 0 then return 'TROUBLE' end
      records[i] = past[i] and past[i] .. sub(record, 73)
    end
  end
  local seq, open = read('<dd', meta, 17)
  local before, worst, charged = sub(hold, 1, 1), sub(hold, 3, 34), sub(hold, 35, 66)
  if before == 'h' and call('ZREM', LEASES, id) == 0 then
    if call('ZCARD', LEASES) ~= open then return 'TROUBLE' end
    before, charged = 'f', worst -- it was charged when the org was opened again without its lease
  end
  if before == 's' or (before == 'f' and want ~= 's') or (before ~= 'h' and want == 'r') then
    return 'E' .. sub(meta, 1, 24) .. before .. before .. charged .. charged .. worst .. '\0'
  end
  local w1, w2, w3, w4 = read('<dddd', worst)
  local c1, c2, c3, c4 = read('<dddd', charged)
  local a1, a2, a3, a4 = read('<dddd', actual)
  if before == 'h' then
    open = open - 1
  else
    w1, w2, w3, w4 = 0, 0, 0, 0
  end
  local doubt = (want == 'f' and a1 or 0) - (before == 'f' and c1 or 0)
  c1, c2, c3, c4 = a1 - c1, a2 - c2, a3 - c3, a4 - c4
  meta = sub(meta, 1, 16) .. pack('<dd', seq + 1, open) .. sub(meta, 33)
  local writes, numbers, texts, at = { '', meta }, {}, {}, 0
  for i = 1, count do
    local record, path = records[i], paths[i]
    if record then
      local s1, s2, s3, s4, h1, h2, h3, h4, u = read('<ddddddddd', record)
      local sums = pack('<ddddddddd', s1 + c1, s2 + c2, s3 + c3, s4 + c4, h1 - w1, h2 - w2, h3 - w3, h4 - w4, u + doubt)
      numbers[at + 1], numbers[at + 2] = sums, sub(record, 73, 120)
      if past[i] then
        texts[at + 1] = 'p' .. path
        call('HSET', prefix .. 'past:' .. path, sub(idents[i], 1, -2), sums)
      else
        texts[at + 1] = 'c' .. path
        writes[#writes + 1], writes[#writes + 2] = path, sums .. sub(record, 73)
      end
      texts[at + 2] = sub(record, 121)
      at = at + 2
    end
  end
  texts[at + 1] = ''
  call('HSET', SCOPES, unpack(writes))
  local ended = want .. sub(hold, 2, 34) .. actual .. sub(hold, 67)
  call('SET', prefix .. 'hold:' .. id, ended, 'EX', KEPT_SECONDS)
  return 'E' .. sub(meta, 1, 24) .. before .. want .. actual .. charged .. worst .. string.char(at / 2)
    .. table.concat(numbers) .. table.concat(texts, '\n')
end

-- A hold that is not there: unknown, or lost while its lease, or any lease, says that it was here.
local function unknown(id, seen)
  local meta = call('HGET', SCOPES, '')
  if not sound(meta, seen) then return 'TROUBLE' end
  local _, open, closed = read('<ddd', meta, 17)
  local lost = call('ZSCORE', LEASES, id) or call('ZCARD', LEASES) ~= open
  return lost and closed == 0 and 'TROUBLE' or 'UNKNOWN'
end

local function write_call(task_id, call_id, record)
  if call('HSET', prefix .. 'calls:' .. task_id, call_id, record) == 1 then
    call('RPUSH', prefix .. 'order:' .. task_id, call_id)
  end
end
