-- ARGV: 'put' or 'ensure', limits, thresholds, window, then paths. 'put' replaces the rules of
-- scopes that exist and keeps their sums; 'ensure' leaves them alone.
for i = 5, #ARGV do
  local at = scope_key(ARGV[i])
  local window = redis.call('HGET', at, 'window')
  if not window then
    redis.call('HSET', at, 'born', redis.call('INCR', prefix .. 'births'))
    redis.call('SADD', prefix .. 'scopes', ARGV[i])
  end
  if not window or ARGV[1] == 'put' then
    redis.call('HSET', at, 'limits', ARGV[2], 'thresholds', ARGV[3], 'window', ARGV[4])
    if string.match(ARGV[4], '^total ') then
      redis.call('HDEL', at, 'span')
    elseif window ~= ARGV[4] then
      redis.call('HSET', at, 'span', '? 0 0')
    end
  end
end
return {}
