-- Shared by every verb. KEYS[1] is the prefix of one org, 'agentkit:{org}:', so that all keys made
-- from it live in one slot. Numbers are little-endian doubles that hold integers below 2^53: packed,
-- for reading decimal text was most of what a script did.
--
-- prefix .. 'scopes'        hash: path -> record of 14 numbers and a tail of three lines
--    1-4 settled, 5-8 held (nano-USD, tokens, uncached tokens, calls), 9 unconfirmed nano-USD,
--    10 millisecond at which the window ends (0: never), 11-14 limits (-1: none);
--    then 'birth window-key', 'window time-zone', thresholds in JSON.
-- prefix .. 'past:' .. path hash: 'birth window-key' -> the nine sums of a window that has ended
-- prefix .. 'hold:' .. id   string: state (h s r f), 0 or 1 for sent, worst and charged (four
--    numbers each), a line 'path<tab>birth window-key' for every account, an empty line, fingerprint
-- prefix .. 'leases'        sorted set: held id -> millisecond at which its lease ends

local prefix = KEYS[1]
local SCOPES, LEASES = prefix .. 'scopes', prefix .. 'leases'
local FOUR, SUMS, RECORD = '<dddd', '<ddddddddd', '<dddddddddddddd'
local KEPT_SECONDS = 7 * 86400
local call, pack, read, sub = redis.call, struct.pack, struct.unpack, string.sub

local function now_ms(given)
  if given ~= '' then return tonumber(given) end
  local time = call('TIME')
  return tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
end

local function blank() return pack(SUMS, 0, 0, 0, 0, 0, 0, 0, 0, 0) end

-- Puts the sums of a record away and takes up those of the window `key`, which ends at `after`.
local function turn(path, record, key, after, rest)
  local past = prefix .. 'past:' .. path
  local ident = string.match(record, '^[^\n]*', 113)
  if sub(ident, -1) ~= '?' then call('HSET', past, ident, sub(record, 1, 72)) end
  local now_ident = string.match(ident, '^%d+') .. ' ' .. key
  local sums = key ~= '?' and call('HGET', past, now_ident) or blank()
  record = sums .. pack('<d', after) .. sub(rest, 1, 32) .. now_ident .. sub(rest, 33)
  call('HSET', SCOPES, path, record)
  return record
end

-- The records of ARGV[first..last] in their windows at `now`, or an answer that says why not: a
-- scope is missing, or the caller must bring spans, 'first-ms after-ms key', behind the paths.
local function accounts(now, first, last)
  local records, stale = call('HMGET', SCOPES, unpack(ARGV, first, last)), nil
  for i = 1, last - first + 1 do
    local record = records[i]
    if not record then return nil, { 'MISSING', ARGV[first + i - 1] } end
    local ends = read('<d', record, 73)
    if ends > 0 and now >= ends then
      local from, after, key = string.match(ARGV[last + i] or '', '^(%d+) (%d+) (%S+)$')
      if from and now >= tonumber(from) and now < tonumber(after) then
        local rest = sub(record, 81, 112) .. string.match(record, '\n.*$', 113)
        records[i] = turn(ARGV[first + i - 1], record, key, tonumber(after), rest)
      else
        stale = stale or { 'WINDOW', string.format('%.0f', now) }
        stale[#stale + 1] = ARGV[first + i - 1]
        stale[#stale + 1] = string.match(record, '^[^\n]*\n([^\n]*)', 113)
      end
    end
  end
  return not stale and records, stale
end

-- Takes a hold off and puts `actual` on, in every account that is still the one it was made
-- against. Answers one string, for every element of an answer costs the client time: the states
-- before and after, the charges after and before, the worst case, then for each scope with limits
-- its path, a newline, its record, a newline.
local function finish(id, hold, after, actual)
  local before = sub(hold, 1, 1)
  local w1, w2, w3, w4 = read(FOUR, hold, 3)
  local c1, c2, c3, c4 = read(FOUR, hold, 35)
  local a1, a2, a3, a4 = read(FOUR, actual)
  if before ~= 'h' then w1, w2, w3, w4 = 0, 0, 0, 0 end
  local doubt = (after == 'f' and a1 or 0) - (before == 'f' and c1 or 0)
  c1, c2, c3, c4 = a1 - c1, a2 - c2, a3 - c3, a4 - c4
  local lines = sub(hold, 67, string.find(hold, '\n\n', 67, true))
  local paths, idents = {}, {}
  for path, ident in string.gmatch(lines, '([^\t]*)\t([^\n]*\n)') do
    paths[#paths + 1], idents[#idents + 1] = path, ident
  end
  local records, writes = call('HMGET', SCOPES, unpack(paths)), {}
  local answer = { before, after, actual, sub(hold, 35, 66), sub(hold, 3, 34) }
  for i = 1, #paths do
    local record, ident, past = records[i], idents[i], nil
    if record and sub(record, 113, 112 + #ident) ~= ident then
      past = call('HGET', prefix .. 'past:' .. paths[i], sub(ident, 1, -2))
      record = past and past .. sub(record, 73)
    end
    if record then
      local s1, s2, s3, s4, h1, h2, h3, h4, u, _, l1, l2, l3, l4 = read(RECORD, record)
      local sums = pack(
        SUMS, s1 + c1, s2 + c2, s3 + c3, s4 + c4, h1 - w1, h2 - w2, h3 - w3, h4 - w4, u + doubt
      )
      record = sums .. sub(record, 73)
      if past then
        call('HSET', prefix .. 'past:' .. paths[i], sub(ident, 1, -2), sums)
      else
        writes[#writes + 1] = paths[i]
        writes[#writes + 1] = record
      end
      if l1 >= 0 or l2 >= 0 or l3 >= 0 or l4 >= 0 then
        answer[#answer + 1] = paths[i] .. '\n' .. record .. '\n'
      end
    end
  end
  if #writes > 0 then call('HSET', SCOPES, unpack(writes)) end
  local ended = after .. sub(hold, 2, 34) .. actual .. sub(hold, 67)
  call('SET', prefix .. 'hold:' .. id, ended, 'EX', KEPT_SECONDS)
  if before == 'h' then call('ZREM', LEASES, id) end
  return table.concat(answer)
end

local function unmoved(hold)
  local state, charged = sub(hold, 1, 1), sub(hold, 35, 66)
  return state .. state .. charged .. charged .. sub(hold, 3, 34)
end

-- What a store's `charge` decides: settled stays; forfeited is corrected by a confirmed settle only.
local function settle(id, hold, actual, confirmed)
  local state = sub(hold, 1, 1)
  if state == 's' or (state == 'f' and not confirmed) then return unmoved(hold) end
  return finish(id, hold, confirmed and 's' or 'f', actual)
end

local function release(id, hold)
  if sub(hold, 1, 1) ~= 'h' then return unmoved(hold) end
  return finish(id, hold, 'r', pack(FOUR, 0, 0, 0, 0))
end

local function write_call(task_id, call_id, record)
  if call('HSET', prefix .. 'calls:' .. task_id, call_id, record) == 1 then
    call('RPUSH', prefix .. 'order:' .. task_id, call_id)
  end
end
