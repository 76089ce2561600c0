-- Keep an entry whose key nothing holds. KEYS[1] the tenant's prefix;
-- ARGV: id, key, partition, kept_at, expires_at, worth, bytes, labels, vector and element of the
-- partition's vector set (both '' where there is none), then fields and values.
-- Returns the id that holds the key, or '' once the entry is kept, and why the set refused it.
local p, id, key, partition = KEYS[1], ARGV[1], ARGV[2], ARGV[3]
local old = redis.call('GET', p .. ':k:' .. key)
if old and old ~= id and (redis.call('EXISTS', p .. ':e:' .. old) == 1
    or redis.call('ZSCORE', p .. ':worth', old)) then return {old, ''} end
redis.call('SET', p .. ':k:' .. key, id)
redis.call('HSET', p .. ':e:' .. id, 'key', key, 'partition', partition, 'bytes', ARGV[7],
  'labels', ARGV[8], 'hits', 0, 'saved_nusd', 0, unpack(ARGV, 11))
local set, log, why = p .. ':v:' .. partition, p .. ':log:' .. partition, ''
local function count(by)
  if redis.call('HEXISTS', p .. ':indexed', partition) == 1 then
    redis.call('HINCRBY', p .. ':indexed', partition, by)
  end
end
local before = redis.call('HGET', p .. ':e:' .. id, 'element')
if before then
  redis.call('HDEL', p .. ':e:' .. id, 'element')
  if redis.pcall('VREM', set, before) == 1 then count(-1) end
end
if ARGV[9] ~= '' then
  if redis.call('EXISTS', log) == 0 then redis.call('HSETNX', p .. ':indexed', partition, 0) end
  local added = redis.pcall('VADD', set, 'FP32', ARGV[9], ARGV[10], 'NOQUANT', 'EF', '200')
  if type(added) == 'table' and added.err then
    why = added.err
  else
    redis.call('HSET', p .. ':e:' .. id, 'element', ARGV[10])
    count(1)
  end
end
for _, label in ipairs(cjson.decode(ARGV[8])) do
  redis.call('SADD', p .. ':l:' .. label, id)
end
redis.call('ZADD', p .. ':worth', ARGV[6], id)
redis.call('ZADD', p .. ':kept', ARGV[4], id)
redis.call('ZADD', p .. ':expires', ARGV[5], id)
redis.call('ZADD', log, redis.call('INCR', p .. ':seq'), id)
redis.call('HINCRBY', p .. ':totals', 'entries', 1)
redis.call('HINCRBY', p .. ':totals', 'bytes', ARGV[7])
return {'', why}
