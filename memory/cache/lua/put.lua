-- Keep an entry whose key nothing holds. KEYS[1] the tenant's prefix;
-- ARGV: id, key, partition, kept_at, expires_at, worth, bytes, labels, vector and element of the
-- partition's vector set (both '' where there is none), then fields and values.
-- Returns the id that holds the key, or '' once the entry is kept.
local p, id, key, partition = KEYS[1], ARGV[1], ARGV[2], ARGV[3]
local old = redis.call('GET', p .. ':k:' .. key)
if old and old ~= id then return old end
redis.call('SET', p .. ':k:' .. key, id)
redis.call('HSET', p .. ':e:' .. id, 'key', key, 'partition', partition, 'bytes', ARGV[7],
  'labels', ARGV[8], 'hits', 0, 'saved_nusd', 0, unpack(ARGV, 11))
if ARGV[9] ~= '' then
  local before = redis.call('HGET', p .. ':e:' .. id, 'element')
  if before and before ~= ARGV[10] then redis.call('VREM', p .. ':v:' .. partition, before) end
  redis.call('VADD', p .. ':v:' .. partition, 'FP32', ARGV[9], ARGV[10], 'NOQUANT', 'EF', '200')
  redis.call('HSET', p .. ':e:' .. id, 'element', ARGV[10])
end
for _, label in ipairs(cjson.decode(ARGV[8])) do
  redis.call('SADD', p .. ':l:' .. label, id)
end
redis.call('ZADD', p .. ':worth', ARGV[6], id)
redis.call('ZADD', p .. ':kept', ARGV[4], id)
redis.call('ZADD', p .. ':expires', ARGV[5], id)
redis.call('ZADD', p .. ':log:' .. partition, redis.call('INCR', p .. ':seq'), id)
redis.call('HINCRBY', p .. ':totals', 'entries', 1)
redis.call('HINCRBY', p .. ':totals', 'bytes', ARGV[7])
return ''
