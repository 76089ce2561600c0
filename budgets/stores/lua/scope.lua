-- ARGV: 'put' or 'ensure', limits (packed), window, thresholds, then paths. 'put' replaces the rules
-- of scopes that exist and keeps their sums; 'ensure' leaves them alone. The first use of a day or
-- month asks for its span: until then its key is '?' and its end long ago.
local total = string.match(ARGV[3], '^total ')
local key, ends = total and '' or '?', total and 0 or 1
local rest = ARGV[2] .. '\n' .. ARGV[3] .. '\n' .. ARGV[4]
for i = 5, #ARGV do
  local path = ARGV[i]
  local record = call('HGET', SCOPES, path)
  if not record then
    local birth = call('INCR', prefix .. 'births')
    record = blank() .. pack('<d', ends) .. ARGV[2] .. birth .. ' ' .. key .. sub(rest, 33)
    call('HSET', SCOPES, path, record)
  elseif ARGV[1] == 'put' then
    local ident, window = string.match(record, '^([^\n]*)\n([^\n]*)\n', 113)
    if window == ARGV[3] then
      call('HSET', SCOPES, path, sub(record, 1, 80) .. ARGV[2] .. ident .. sub(rest, 33))
    else
      turn(path, record, key, ends, rest)
    end
  end
end
return 'WRITTEN'
