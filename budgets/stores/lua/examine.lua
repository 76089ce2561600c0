-- ARGV: now or '', lineage of the caller's epoch ('' where it knows none), seq it has seen, an epoch
-- for a change, '1' where the org is known to exist, wait in ms, '1' where a script found something
-- missing that a look at the org does not show, '1' to close the org after a restart. Decides what a doubt was about:
-- 'FINE', 'MISSING' (no such org), 'ADOPT' (the server was restarted and knows as much), 'CLOSED',
-- or, where something was lost, 'LOST' the first time and 'REPLAY' for those who come later. Behind
-- it: epoch and seq, lineage, ms until the org may open again (-1: it is open), seq that was found.
local BASES, EPOCHS = 3, 20
local lineage, fresh = ARGV[2], ARGV[4]
local mine, seen = sub(lineage, 1, 16), tonumber(ARGV[3])
local run = run_id()
local now, meta = now_ms(ARGV[1]), call('HGET', SCOPES, '')
local open, scopes = call('ZCARD', LEASES), call('HLEN', SCOPES) - 1
local status, before = 'FINE', meta

-- A new epoch; what the old one holds is kept beside, as the base of those who have seen more of it.
local function succeed(kind)
  local old, seq = sub(meta, 1, 16), read('<i8', meta, 17)
  local base = prefix .. 'base:' .. old
  local all, rows = call('HGETALL', SCOPES), { '', pack('<i8', seq) }
  for i = 1, #all, 2 do
    if all[i] ~= '' then
      rows[#rows + 1], rows[#rows + 2] = all[i], pack('<i8', seq) .. all[i + 1]
    end
    if #rows > 4000 or i == #all - 1 then
      call('HSET', base, unpack(rows))
      rows = { '', pack('<i8', seq) }
    end
  end
  call('EXPIRE', base, 7 * 86400)
  local oldest = sub(meta, 121 + (BASES - 1) * 25, 136 + (BASES - 1) * 25)
  if oldest ~= '' then call('DEL', prefix .. 'base:' .. oldest) end
  meta = fresh .. pack('<i8i8i8i8i8i8', seq + 1, open, read('<i8', meta, 33), scopes, read('<i8', meta, 49), seq)
    .. sub(meta, 65, 80) .. run .. sub(old .. pack('<i8', seq) .. kind .. sub(meta, 121), 1, EPOCHS * 25)
end

if not meta then
  if mine == '' and ARGV[5] == '0' and open == 0 then return { 'MISSING' } end
  for i = 1, #lineage, 16 do call('DEL', prefix .. 'base:' .. sub(lineage, i, i + 15)) end
  local line = mine ~= '' and sub(lineage, -16) or fresh
  meta = fresh .. pack('<i8i8i8i8i8i8', 0, open, 0, math.max(scopes, 0), 0, 0) .. line .. run
    .. (mine ~= '' and mine .. pack('<i8', 0) .. 'l' or '')
  status = 'LOST'
else
  local _, counted, closed, listed = read('<i8i8i8i8', meta, 17)
  if open ~= counted or scopes ~= listed or ARGV[7] == '1' then
    succeed('l')
    status = 'LOST'
  elseif run ~= sub(meta, 81, 120) then
    succeed('r')
    if ARGV[8] == '1' then
      meta = sub(meta, 1, 32) .. pack('<i8', now + ARGV[6]) .. sub(meta, 41, 48) .. pack('<i8', now) .. sub(meta, 57)
    end
  end
  if mine ~= '' and status ~= 'LOST' then
    local at
    for i = 121, #meta, 25 do
      if sub(meta, i, i + 15) == mine then at = i break end
    end
    if mine == sub(meta, 1, 16) then
      if seen > read('<i8', meta, 17) then
        succeed('l')
        status = 'LOST'
      end
    elseif at and sub(meta, at + 24, at + 24) == 'l' then
      status = 'REPLAY'
    elseif not at or seen > read('<i8', meta, at + 16) then
      if at then
        meta = sub(meta, 1, at + 23) .. 'l' .. sub(meta, at + 25)
      else
        meta = sub(meta, 1, 120) .. mine .. pack('<i8', 0) .. 'l' .. sub(meta, 121)
      end
      succeed('l')
      status = 'LOST'
    else
      status = 'ADOPT'
    end
  end
end
local seq, _, closed, _, lost, found = read('<i8i8i8i8i8i8', meta, 17)
if status == 'LOST' then
  seq, closed, lost = math.max(seq, seen) + 1, now + ARGV[6], now
  meta = sub(meta, 1, 16) .. pack('<i8', seq) .. sub(meta, 25, 32) .. pack('<i8', closed)
    .. sub(meta, 41, 48) .. pack('<i8', lost) .. sub(meta, 57)
elseif status == 'FINE' and closed ~= 0 then
  status = 'CLOSED'
end
if meta ~= before then call('HSET', SCOPES, '', meta) end
local epochs = { sub(meta, 1, 16) }
for i = 121, #meta, 25 do epochs[#epochs + 1] = sub(meta, i, i + 15) end
epochs[#epochs + 1] = sub(meta, 65, 80)
local left = closed == 0 and -1 or math.max(0, closed - now)
return { status, sub(meta, 1, 24), table.concat(epochs), string.format('%.0f', left), string.format('%.0f', found) }
