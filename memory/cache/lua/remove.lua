-- Remove entries. KEYS[1] the tenant's prefix; ARGV the entries' ids. Returns how many there were.
local p = KEYS[1]
local removed = 0
for _, id in ipairs(ARGV) do
  local e = redis.call('HMGET', p .. ':e:' .. id, 'key', 'partition', 'bytes', 'labels', 'hits', 'saved_nusd', 'element')
  if e[1] then
    if redis.call('GET', p .. ':k:' .. e[1]) == id then redis.call('DEL', p .. ':k:' .. e[1]) end
    if e[7] then redis.call('VREM', p .. ':v:' .. e[2], e[7]) end
    for _, label in ipairs(cjson.decode(e[4])) do
      redis.call('SREM', p .. ':l:' .. label, id)
    end
    redis.call('DEL', p .. ':e:' .. id)
    redis.call('ZREM', p .. ':worth', id)
    redis.call('ZREM', p .. ':kept', id)
    redis.call('ZREM', p .. ':expires', id)
    redis.call('ZADD', p .. ':log:' .. e[2], redis.call('INCR', p .. ':seq'), id)
    redis.call('HINCRBY', p .. ':totals', 'entries', -1)
    redis.call('HINCRBY', p .. ':totals', 'bytes', 0 - tonumber(e[3]))
    redis.call('HINCRBY', p .. ':totals', 'hits', 0 - tonumber(e[5]))
    redis.call('HINCRBY', p .. ':totals', 'saved_nusd', 0 - tonumber(e[6]))
    removed = removed + 1
  end
end
return removed
