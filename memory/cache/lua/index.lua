-- Take entries that were kept before the server had vector sets into the set of their partition.
-- KEYS[1] the tenant's prefix; ARGV: partition, then id, element and vector of each.
local p, partition = KEYS[1], ARGV[1]
for i = 2, #ARGV, 3 do
  local e = p .. ':e:' .. ARGV[i]
  if redis.call('EXISTS', e) == 1 and redis.call('HEXISTS', e, 'element') == 0 then
    redis.call('VADD', p .. ':v:' .. partition, 'FP32', ARGV[i + 2], ARGV[i + 1], 'NOQUANT', 'EF', '200')
    redis.call('HSET', e, 'element', ARGV[i + 1])
  end
end
return 1
