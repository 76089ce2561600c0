-- Take entries that were kept before the server had vector sets into the set of their partition.
-- KEYS[1] the tenant's prefix; ARGV: partition, '1' where these are the last, then id, element and
-- vector of each. Returns how many the set did not take, and why it refused the last of them.
local p, partition = KEYS[1], ARGV[1]
local set, refused, why = p .. ':v:' .. partition, 0, ''
for i = 3, #ARGV, 3 do
  local e = p .. ':e:' .. ARGV[i]
  if redis.call('EXISTS', e) == 1 then
    local added = redis.pcall('VADD', set, 'FP32', ARGV[i + 2], ARGV[i + 1], 'NOQUANT', 'EF', '200')
    if type(added) == 'table' and added.err then
      refused, why = refused + 1, added.err
    else
      redis.call('HSET', e, 'element', ARGV[i + 1])
    end
  end
end
if ARGV[2] == '1' then
  local count = redis.pcall('VCARD', set)
  redis.call('HSET', p .. ':indexed', partition, type(count) == 'number' and count or 0)
end
return {refused, why}
