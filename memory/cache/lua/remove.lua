-- Remove entries. KEYS[1] the tenant's prefix; ARGV the entries' ids. Returns how many there were.
-- What is left of a damaged one, or of one that the server evicted by itself, goes as well.
local p = KEYS[1]
local removed = 0
local function less(field, by)
  redis.call('HINCRBY', p .. ':totals', field, 0 - (tonumber(by) or 0))
end
for _, id in ipairs(ARGV) do
  local e = redis.pcall('HMGET', p .. ':e:' .. id, 'key', 'partition', 'bytes', 'labels', 'hits', 'saved_nusd', 'element')
  local key, partition, element = e[1], e[2], e[7]
  if key and redis.call('GET', p .. ':k:' .. key) == id then redis.call('DEL', p .. ':k:' .. key) end
  if partition and element and redis.pcall('VREM', p .. ':v:' .. partition, element) == 1
      and redis.call('HEXISTS', p .. ':indexed', partition) == 1 then
    redis.call('HINCRBY', p .. ':indexed', partition, -1)
  end
  local read, labels = pcall(cjson.decode, e[4] or '')
  for _, label in ipairs(read and type(labels) == 'table' and labels or {}) do
    redis.call('SREM', p .. ':l:' .. tostring(label), id)
  end
  redis.call('DEL', p .. ':e:' .. id)
  redis.call('ZREM', p .. ':kept', id)
  redis.call('ZREM', p .. ':expires', id)
  if redis.call('ZREM', p .. ':worth', id) == 1 or key then
    if partition then redis.call('ZADD', p .. ':log:' .. partition, redis.call('INCR', p .. ':seq'), id) end
    less('entries', 1)
    less('bytes', e[3])
    less('hits', e[5])
    less('saved_nusd', e[6])
    removed = removed + 1
  end
end
return removed
