-- ARGV: path. Forgets a scope in which nothing is held, in any window.
local past = prefix .. 'past:' .. ARGV[1]
local windows = call('HVALS', past)
windows[#windows + 1] = call('HGET', SCOPES, ARGV[1]) or nil
for _, sums in ipairs(windows) do
  local h1, h2, h3, h4 = read(FOUR, sums, 33)
  if h1 ~= 0 or h2 ~= 0 or h3 ~= 0 or h4 ~= 0 then return 'HELD' end
end
call('DEL', past)
call('HDEL', SCOPES, ARGV[1])
return 'DROPPED'
