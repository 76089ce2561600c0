-- Shared by every script. KEYS[1] is the prefix of one org, 'agentkit:ledger:{org}:', so that all keys made
-- from it live in one slot. Numbers are eight bytes, little-endian, and below 2^53.
--
-- prefix .. 'scopes'        hash: path -> record of 15 numbers and a tail of three lines
--    1-4 settled, 5-8 held (nano-USD, tokens, uncached tokens, calls), 9 unconfirmed nano-USD,
--    10 millisecond at which the window ends (0: never), 11-14 limits (-1: none), 15 how many
--    windows have ended; then 'birth window-key', 'window time-zone', thresholds in JSON.
--    Its field '' is the org's own record: epoch (16 bytes); seq, open reservations, millisecond at
--    which it may open again (0: it is open), scopes, millisecond of the loss, seq at which the
--    epoch before ended; line (16 bytes: its first epoch); run of the server (40 bytes); then the
--    epochs before it, 25 bytes each: epoch, seq at which it ended, and why: 'r' a restart, 'l' a
--    loss, 'o' the end of a recovery.
-- prefix .. 'past:' .. path hash: 'birth window-key' -> the nine sums of a window that has ended
-- prefix .. 'hold:' .. id   string: state (h s r f), 0 or 1 for sent, worst and charged (four
--    numbers each), a line 'path<tab>birth window-key' for every account, an empty line, fingerprint
-- prefix .. 'leases'        sorted set: held id -> millisecond at which its lease ends
-- prefix .. 'base:' .. line hash: path -> seq and record up to which a line's spending is counted
--
-- Each script that writes adds 1 to seq. `seen`, 24 bytes, is the epoch and the seq that the caller
-- has seen: a server that knows less has lost something, and the script answers 'TROUBLE'.
local prefix = KEYS[1]
local SCOPES, LEASES = prefix .. 'scopes', prefix .. 'leases'
local call, pack, read, sub = redis.call, struct.pack, struct.unpack, string.sub
local NO_CHARGE = '\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0'

local function now_ms(given)
  if given ~= '' then return tonumber(given) end
  local time = call('TIME')
  return time[1] * 1000 + math.floor(time[2] / 1000)
end

local function sound(meta, seen)
  return meta and sub(meta, 1, 16) == sub(seen, 1, 16) and read('<i8', meta, 17) >= read('<i8', seen, 17)
end
