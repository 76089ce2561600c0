-- ARGV: now or '', lineage of the caller's epoch, seq it has seen, its longest lease in ms, how many
-- scopes; for each path, epoch, seq (packed) and record as the caller saw them last; then id, ms left
-- of the lease, and hold, for each reservation. Counts what the server lost, each of it once: the sums
-- of a scope by how far the newest copy of it is ahead of what is counted already, so that order and
-- repetition do not matter; a reservation by its id. A caller that comes when the org is open again is
-- late: all that it held is charged. A hold in state 'p' was ended in an epoch of recovery, and the end
-- follows: where it is unknown here and late, that end may be counted already, and changes nothing.
-- Answers 'P', epoch and seq, and how many of each were taken.
local KEPT_SECONDS = 7 * 86400
local RANK = { h = 0, r = 1, f = 1, s = 2 }
local NOTHING = string.rep('\0', 72)
local lineage, seen = ARGV[2], tonumber(ARGV[3])
local mine = sub(lineage, 1, 16)
local now, meta = now_ms(ARGV[1]), call('HGET', SCOPES, '')
if not meta then return 'TROUBLE' end
local seq, open, closed, scopes, lost = read('<i8i8i8i8i8', meta, 17)
local late = closed == 0
local function is_before(epoch)
  for i = 121, #meta, 25 do
    if sub(meta, i, i + 15) == epoch then return true end
  end
end
if mine ~= sub(meta, 1, 16) and not is_before(mine) then return 'TROUBLE' end
-- Where the spending seen in an epoch is counted, whether the server knows that epoch or one before
-- it, and up to which seq it has all of it.
local bases = {}
local function base_of(epoch)
  if bases[epoch] then return unpack(bases[epoch]) end
  local base, own, found = prefix .. 'base:' .. sub(lineage, -16), false, 0
  for i = math.max(0, (string.find(lineage, epoch, 1, true) or 1) - 1), #lineage - 16, 16 do
    local known = sub(lineage, i + 1, i + 16)
    local copy = prefix .. 'base:' .. known
    if is_before(known) and call('EXISTS', copy) == 1 then
      base, own, found = copy, true, read('<i8', call('HGET', copy, '') or pack('<i8', 0))
      break
    end
  end
  bases[epoch] = { base, own, found }
  return base, own, found
end

local function added(sums, delta)
  local old, new = { read('<i8i8i8i8i8i8i8i8i8', sums) }, {}
  for i = 1, 9 do new[i] = old[i] + delta[i] end
  return pack('<i8i8i8i8i8i8i8i8i8', unpack(new, 1, 9))
end

local function key_of(record) return string.match(record, '^%d+ ([^\n]*)', 121) end

local function with_birth(record, birth)
  return sub(record, 1, 120) .. birth .. string.match(record, ' .*$', 121)
end

-- The limits that are lower, where two orgs of one name have become one.
local function least(record, other)
  local mine_, theirs = { read('<i8i8i8i8', record, 81) }, { read('<i8i8i8i8', other, 81) }
  for i = 1, 4 do
    if mine_[i] < 0 or (theirs[i] >= 0 and theirs[i] < mine_[i]) then mine_[i] = theirs[i] end
  end
  return sub(record, 1, 80) .. pack('<i8i8i8i8', unpack(mine_, 1, 4)) .. sub(record, 113)
end

local function put_past(path, current, ident, delta)
  local past = prefix .. 'past:' .. path
  local new = call('HSET', past, ident, added(call('HGET', past, ident) or NOTHING, delta))
  return sub(current, 1, 112) .. pack('<i8', read('<i8', current, 113) + new) .. sub(current, 121)
end

local function merged(path, current, record, delta, own)
  local birth = string.match(current, '^%d+', 121)
  if key_of(current) == key_of(record) then
    local sums = added(sub(current, 1, 72), delta)
    if own and not late then
      return sums .. sub(record, 73, 112) .. sub(current, 113, 120) .. sub(with_birth(record, birth), 121)
    end
    return late and sums .. sub(current, 73) or least(sums .. sub(current, 73), record)
  end
  if own and not late and read('<i8', record, 73) > read('<i8', current, 73) then
    local ident = string.match(current, '^[^\n]*', 121)
    if sub(ident, -1) ~= '?' then current = put_past(path, current, ident, { read('<i8i8i8i8i8i8i8i8i8', current) }) end
    return added(NOTHING, delta) .. sub(record, 73, 112) .. sub(current, 113, 120)
      .. sub(with_birth(record, birth), 121)
  end
  if key_of(record) == '?' then return current end
  return put_past(path, current, birth .. ' ' .. key_of(record), delta)
end

local taken = { 0, 0 }
local function take_scope(path, epoch, at, record)
  if epoch == sub(meta, 1, 16) then return end -- the server's own
  local base, own, found = base_of(epoch)
  local counted = call('HGET', base, path)
  if read('<i8', at) <= (counted and read('<i8', counted) or found) then return end
  local delta = { read('<i8i8i8i8i8i8i8i8i8', record) }
  if counted and string.match(counted, '^[^\n]*', 129) == string.match(record, '^[^\n]*', 121) then
    local old = { read('<i8i8i8i8i8i8i8i8i8', counted, 9) }
    for i = 1, 9 do delta[i] = delta[i] - old[i] end
  end
  if late then
    delta[9] = delta[9] + delta[5]
    for i = 1, 4 do delta[i], delta[4 + i] = delta[i] + delta[4 + i], 0 end
  end
  local current = call('HGET', SCOPES, path)
  if current then
    current = merged(path, current, record, delta, own)
  else
    scopes = scopes + 1
    current = added(NOTHING, delta) .. sub(record, 73, 112) .. pack('<i8', call('HLEN', prefix .. 'past:' .. path))
      .. sub(record, 121)
  end
  call('HSET', SCOPES, path, current)
  call('HSET', base, path, at .. record)
  call('EXPIRE', base, KEPT_SECONDS)
  taken[1] = taken[1] + 1
end

-- Charges a hold of a late caller that is open here at its worst case: what comes behind corrects it.
local function charge_open(hold)
  local w = { read('<i8i8i8i8', hold, 3) }
  local delta = { w[1], w[2], w[3], w[4], -w[1], -w[2], -w[3], -w[4], 0 }
  for path, ident in string.gmatch(sub(hold, 67, string.find(hold, '\n\n', 67, true)), '([^\t]*)\t([^\n]*)\n') do
    local record = call('HGET', SCOPES, path)
    if record and string.match(record, '^[^\n]*', 121) == ident then
      call('HSET', SCOPES, path, added(sub(record, 1, 72), delta) .. sub(record, 73))
    elseif record and call('HEXISTS', prefix .. 'past:' .. path, ident) == 1 then
      put_past(path, record, ident, delta)
    end
  end
end

local function take_hold(id, left, hold)
  local pending = sub(hold, 1, 1) == 'p'
  if pending then hold = 'h' .. sub(hold, 2) end
  local stop = string.find(hold, '\n\n', 67, true)
  local lines = string.gsub(sub(hold, 67, stop), '([^\t]*)\t%d+ ([^\n]*\n)', function(path, key)
    local record = call('HGET', SCOPES, path)
    return record and path .. '\t' .. string.match(record, '^%d+', 121) .. ' ' .. key or nil
  end)
  hold = sub(hold, 1, 66) .. lines .. sub(hold, stop + 1)
  local key, state = prefix .. 'hold:' .. id, sub(hold, 1, 1)
  local known = call('GET', key)
  local before = known and sub(known, 1, 1)
  if known and (before ~= 'h' or state ~= 'h') and RANK[state] <= RANK[before] then return end
  if state == 'h' and not (late and not known) then
    if not known then call('SET', key, hold) end
    if not late then open = open + call('ZADD', LEASES, 'NX', now + left, id) end
    taken[2] = taken[2] + (known and 0 or 1)
    return
  end
  if before == 'h' and call('ZREM', LEASES, id) == 1 then
    open = open - 1
    if late then charge_open(known) end
  end
  if state == 'h' then hold = (pending and 's' or 'f') .. sub(hold, 2, 34) .. sub(hold, 3, 34) .. sub(hold, 67) end
  call('SET', key, hold, 'EX', KEPT_SECONDS)
  taken[2] = taken[2] + 1
end

local at = 6
for _ = 1, tonumber(ARGV[5]) do
  take_scope(ARGV[at], ARGV[at + 1], ARGV[at + 2], ARGV[at + 3])
  at = at + 4
end
while at <= #ARGV do
  take_hold(ARGV[at], ARGV[at + 1], ARGV[at + 2])
  at = at + 3
end
if not late then closed = math.max(closed, lost + ARGV[4]) end
seq = math.max(seq, seen) + 1
meta = sub(meta, 1, 16) .. pack('<i8i8i8i8', seq, open, closed, scopes) .. sub(meta, 49)
call('HSET', SCOPES, '', meta)
return { 'P', sub(meta, 1, 24), taken[1], taken[2] }
