-- ARGV: path. Forgets a scope in which nothing is held, in any window.
local row = redis.call('HGETALL', scope_key(ARGV[1]))
for i = 1, #row, 2 do
  if string.sub(row[i], 1, 5) == 'sums:' then
    local sums = numbers(row[i + 1])
    if sums[5] ~= 0 or sums[6] ~= 0 or sums[7] ~= 0 or sums[8] ~= 0 then return { '0' } end
  end
end
redis.call('DEL', scope_key(ARGV[1]))
redis.call('SREM', prefix .. 'scopes', ARGV[1])
return { '1' }
