-- ARGV: seen, path. Forgets a scope in which nothing is held, in any window.
local meta, record = call('HGET', SCOPES, ''), call('HGET', SCOPES, ARGV[2])
if not meta and ARGV[1] == '' then return 'MISSING' end
if not sound(meta, ARGV[1]) then return 'TROUBLE' end
if not record then return 'MISSING' end
local past = prefix .. 'past:' .. ARGV[2]
local windows = call('HVALS', past)
if #windows ~= read('<i8', record, 113) then return 'TROUBLE' end
windows[#windows + 1] = record
for _, sums in ipairs(windows) do
  local h1, h2, h3, h4 = read('<i8i8i8i8', sums, 33)
  if h1 ~= 0 or h2 ~= 0 or h3 ~= 0 or h4 ~= 0 then return 'HELD' end
end
local seq, open, closed, scopes = read('<i8i8i8i8', meta, 17)
meta = sub(meta, 1, 16) .. pack('<i8i8i8i8', seq + 1, open, closed, scopes - 1) .. sub(meta, 49)
call('DEL', past)
call('HDEL', SCOPES, ARGV[2])
call('HSET', SCOPES, '', meta)
return 'D' .. sub(meta, 1, 24)
