-- Shared by every verb. KEYS[1] is the prefix of one org, 'agentkit:{org}:', so that all keys made
-- from it live in one slot. Integers stay below 2^53; '%.0f' writes them without an exponent.
--
-- prefix .. 'scope:' .. path   hash: limits, thresholds, window, span, born, sums:<window key>
-- prefix .. 'hold:' .. id      hash: state, fingerprint, worst, charged, accounts, dispatched
-- prefix .. 'leases'           sorted set of held ids by the millisecond at which their lease ends
--
-- Sums are nine numbers in one field: settled and held (nano-USD, tokens, uncached tokens, calls
-- each), then the unconfirmed nano-USD. A span is 'key first_ms next_ms': the window in force.

local prefix = KEYS[1]
local NO_SUMS = '0 0 0 0 0 0 0 0 0'
local KEPT_SECONDS = 7 * 86400

local function now_ms(given)
  if given ~= '' then return tonumber(given) end
  local time = redis.call('TIME')
  return tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
end

local function numbers(text)
  local found = {}
  for word in string.gmatch(text, '%S+') do
    found[#found + 1] = tonumber(word) or false
  end
  return found
end

local function text(found, first, last)
  local format = '%.0f' .. string.rep(' %.0f', last - first)
  return string.format(format, unpack(found, first, last))
end

local function scope_key(path) return prefix .. 'scope:' .. path end
local function hold_key(id) return prefix .. 'hold:' .. id end

-- The account of `path` in its window at `now`, nil where there is no scope. `stale` names the
-- window for which the caller must bring a span; a clock set back starts no new window.
local function account(path, now, brought)
  local row = redis.call('HMGET', scope_key(path), 'limits', 'span', 'born', 'sums:', 'window')
  if not row[1] then return nil end
  local found = { path = path, key = '', limits = row[1], born = row[3], sums = row[4] }
  local span = row[2]
  if span then
    if now >= tonumber(string.match(span, '(%d+)$')) then
      local first, after = string.match(brought, ' (%d+) (%d+)$')
      if not first or now < tonumber(first) or now >= tonumber(after) then
        found.stale = row[5]
        return found
      end
      span = brought
      found.span = span
    end
    found.key = string.match(span, '^(%S+)')
    found.sums = redis.call('HGET', scope_key(path), 'sums:' .. found.key)
  end
  found.sums = found.sums or NO_SUMS
  return found
end

-- All accounts, or an answer that says why not: a scope is missing, or spans are to be brought.
local function accounts(now, first)
  local found, stale = {}, {}
  for i = first, #ARGV, 2 do
    local each = account(ARGV[i], now, ARGV[i + 1])
    if not each then return nil, { 'MISSING', ARGV[i] } end
    if each.stale then
      stale[#stale + 1] = ARGV[i]
      stale[#stale + 1] = each.stale
    end
    found[#found + 1] = each
  end
  if #stale > 0 then return nil, { 'WINDOW', string.format('%.0f', now), unpack(stale) } end
  return found
end

local function write_call(task_id, call_id, record)
  if redis.call('HSET', prefix .. 'calls:' .. task_id, call_id, record) == 1 then
    redis.call('RPUSH', prefix .. 'order:' .. task_id, call_id)
  end
end

-- Takes a hold off and puts `charged` on, in every account that is still the one it was made
-- against. Answers with the states, the charge, and the scopes with limits that it moved.
local function finish(id, hold, after, charged)
  local before, old = hold[1], numbers(hold[3])
  local drop = before == 'held' and numbers(hold[2]) or { 0, 0, 0, 0 }
  local unconfirmed = (after == 'forfeited' and charged[1] or 0)
    - (before == 'forfeited' and old[1] or 0)
  local answer = { id, before, after, text(charged, 1, 4), hold[2] }
  for path, born, key in string.gmatch(hold[4], '(%S+) (%S+) (%S*)\n') do
    local at, field = scope_key(path), 'sums:' .. key
    local row = redis.call('HMGET', at, 'born', field, 'limits', 'thresholds')
    if row[1] == born then
      local sums = numbers(row[2] or NO_SUMS)
      local settled = text(sums, 1, 4)
      for i = 1, 4 do
        sums[i] = sums[i] + charged[i] - old[i]
        sums[i + 4] = sums[i + 4] - drop[i]
      end
      sums[9] = sums[9] + unconfirmed
      redis.call('HSET', at, field, text(sums, 1, 9))
      if row[3] ~= '- - - -' then
        local moved = { path, row[3], row[4], settled, text(sums, 1, 4), text(sums, 5, 8) }
        for i = 1, 6 do answer[#answer + 1] = moved[i] end
      end
    end
  end
  redis.call('HSET', hold_key(id), 'state', after, 'charged', answer[4])
  redis.call('EXPIRE', hold_key(id), KEPT_SECONDS)
  if before == 'held' then redis.call('ZREM', prefix .. 'leases', id) end
  return answer
end

-- What a store's `charge` decides: settled stays; forfeited is corrected by a confirmed settle only.
local function settle(id, hold, actual, confirmed)
  local state = hold[1]
  if state == 'settled' or (state == 'forfeited' and not confirmed) then
    return { id, state, state, hold[3], hold[2] }
  end
  return finish(id, hold, confirmed and 'settled' or 'forfeited', actual)
end

local function release(id, hold)
  if hold[1] ~= 'held' then return { id, hold[1], hold[1], hold[3], hold[2] } end
  return finish(id, hold, 'released', { 0, 0, 0, 0 })
end

local function hold_of(id)
  local hold = redis.call('HMGET', hold_key(id), 'state', 'worst', 'charged', 'accounts', 'dispatched')
  return hold[1] and hold or nil
end
