-- Count a hit. KEYS[1] the tenant's prefix; ARGV: id, saved nano-USD, then, for an answer given by
-- meaning, hit id, record, time, and how many such records are kept.
local p, id, saved = KEYS[1], ARGV[1], ARGV[2]
if redis.call('EXISTS', p .. ':e:' .. id) == 1 then
  redis.call('HINCRBY', p .. ':e:' .. id, 'hits', 1)
  redis.call('HINCRBY', p .. ':e:' .. id, 'saved_nusd', saved)
  redis.call('ZINCRBY', p .. ':worth', tonumber(saved) / tonumber(redis.call('HGET', p .. ':e:' .. id, 'bytes')), id)
  redis.call('HINCRBY', p .. ':totals', 'hits', 1)
  redis.call('HINCRBY', p .. ':totals', 'saved_nusd', saved)
end
if ARGV[3] then
  redis.call('HSET', p .. ':served', ARGV[3], ARGV[4])
  redis.call('ZADD', p .. ':served_at', ARGV[5], ARGV[3])
  local old = redis.call('ZRANGE', p .. ':served_at', 0, -1 - tonumber(ARGV[6]))
  for _, hit in ipairs(old) do
    redis.call('HDEL', p .. ':served', hit)
    redis.call('ZREM', p .. ':served_at', hit)
  end
end
return 1
