-- ARGV: now or '', '1' to open it now whatever is known, the org, the epoch that begins so.
-- Opens an org again whose wait is over. What is held for reservations that nobody remembers is
-- charged at its worst case. Answers 'OPEN', 'EMPTY' (nobody has brought the org itself), 'CLOSED',
-- 'CREATED' or 'REOPENED', epoch and seq, and the four numbers so charged to the org.
local meta, forced = call('HGET', SCOPES, ''), ARGV[2] == '1'
if not meta then
  if not forced then return { 'EMPTY' } end
  meta = ARGV[4] .. pack('<i8i8i8i8i8i8', 1, 0, 0, 0, 0, 0) .. ARGV[4] .. run_id()
  call('DEL', LEASES)
  call('HSET', SCOPES, '', meta)
  return { 'CREATED', sub(meta, 1, 24) }
end
local seq, _, closed, _, lost, found = read('<i8i8i8i8i8i8', meta, 17)
if closed == 0 then return { 'OPEN', sub(meta, 1, 24) } end
if not forced and now_ms(ARGV[1]) < closed then return { 'CLOSED', sub(meta, 1, 24) } end
if not forced and not call('HGET', SCOPES, ARGV[3]) then return { 'EMPTY' } end

local held = {}
for _, id in ipairs(call('ZRANGE', LEASES, 0, -1)) do
  local hold = call('GET', prefix .. 'hold:' .. id)
  if hold and sub(hold, 1, 1) == 'h' then
    local w = { read('<i8i8i8i8', hold, 3) }
    for account in string.gmatch(sub(hold, 67, string.find(hold, '\n\n', 67, true)), '([^\n]+)\n') do
      local sums = held[account] or { 0, 0, 0, 0 }
      for i = 1, 4 do sums[i] = sums[i] + w[i] end
      held[account] = sums
    end
  else
    call('ZREM', LEASES, id)
  end
end

-- The sums with no more held than open reservations hold, and what nobody holds charged.
local function righted(sums, account)
  local n, want = { read('<i8i8i8i8i8i8i8i8i8', sums) }, held[account] or { 0, 0, 0, 0 }
  local orphaned = {}
  for i = 1, 4 do
    orphaned[i] = math.max(0, n[4 + i] - want[i])
    n[i], n[4 + i] = n[i] + orphaned[i], want[i]
  end
  n[9] = n[9] + orphaned[1]
  return pack('<i8i8i8i8i8i8i8i8i8', unpack(n, 1, 9)), orphaned
end

-- Windows that have ended and are missing begin anew with what is held in them.
for account in pairs(held) do
  local path, ident = string.match(account, '^([^\t]*)\t(.*)$')
  local record = call('HGET', SCOPES, path)
  local now_ident = record and string.match(record, '^[^\n]*', 121)
  if record and now_ident ~= ident and string.match(now_ident, '^%d+') == string.match(ident, '^%d+') then
    if call('HSETNX', prefix .. 'past:' .. path, ident, string.rep('\0', 72)) == 1 then
      record = sub(record, 1, 112) .. pack('<i8', read('<i8', record, 113) + 1) .. sub(record, 121)
      call('HSET', SCOPES, path, record)
    end
  end
end

local rows, charged = call('HGETALL', SCOPES), { 0, 0, 0, 0 }
for i = 1, #rows, 2 do
  local path, record = rows[i], rows[i + 1]
  if path ~= '' then
    local past = prefix .. 'past:' .. path
    for _, ident in ipairs(call('HKEYS', past)) do
      call('HSET', past, ident, (righted(call('HGET', past, ident), path .. '\t' .. ident)))
    end
    local sums, orphaned = righted(sub(record, 1, 72), path .. '\t' .. string.match(record, '^[^\n]*', 121))
    record = sums .. sub(record, 73, 112) .. pack('<i8', call('HLEN', past)) .. sub(record, 121)
    call('HSET', SCOPES, path, record)
    if path == ARGV[3] then charged = orphaned end
  end
end
meta = ARGV[4] .. pack('<i8i8i8i8i8i8', seq + 1, call('ZCARD', LEASES), 0, call('HLEN', SCOPES) - 1, lost, found)
  .. sub(meta, 65, 120) .. sub(meta, 1, 16) .. pack('<i8', seq) .. 'o' .. sub(meta, 121)
call('HSET', SCOPES, '', meta)
return { 'REOPENED', sub(meta, 1, 24), pack('<i8i8i8i8', unpack(charged, 1, 4)) }
