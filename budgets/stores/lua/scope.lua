-- ARGV: seen or '', an epoch for an org that is new, 'put' or 'ensure', limits (packed), window,
-- thresholds, then paths. 'put' replaces the rules of scopes that exist and keeps
-- their sums; 'ensure' leaves them alone. The first use of a day or month asks for its span: until
-- then its key is '?' and its end long ago. Answers 'W', epoch and seq, the records in order.
local meta = call('HGET', SCOPES, '')
if not meta and ARGV[1] == '' and ARGV[2] ~= '' then
  meta = ARGV[2] .. pack('<i8i8i8i8i8i8', 0, 0, 0, 0, 0, 0) .. ARGV[2] .. run_id()
elseif not sound(meta, ARGV[1]) or read('<i8', meta, 33) ~= 0 then
  return 'TROUBLE'
end
local seq, open, closed, scopes = read('<i8i8i8i8', meta, 17)
local total = string.match(ARGV[5], '^total ')
local key, ends = total and '' or '?', total and 0 or 1
local rest = ARGV[4] .. '\n' .. ARGV[5] .. '\n' .. ARGV[6]
local writes, answer = {}, {}
for i = 7, #ARGV do
  local path = ARGV[i]
  local record, changed = call('HGET', SCOPES, path), nil
  if not record then
    scopes = scopes + 1
    changed = string.rep('\0', 72) .. pack('<i8', ends) .. ARGV[4] .. pack('<i8', 0)
      .. string.format('%.0f', seq + 1) .. ' ' .. key .. sub(rest, 33)
  elseif ARGV[3] == 'put' then
    local ident, window = string.match(record, '^([^\n]*)\n([^\n]*)\n', 121)
    if window == ARGV[5] then
      changed = sub(record, 1, 80) .. ARGV[4] .. sub(record, 113, 120) .. ident .. sub(rest, 33)
    else
      changed = turn(path, record, key, ends, rest)
      if not changed then return 'TROUBLE' end
    end
  end
  if changed then call('HSET', SCOPES, path, changed) end
  writes[1] = writes[1] or changed
  answer[#answer + 1] = (changed or record) .. '\n'
end
if writes[1] then
  meta = sub(meta, 1, 16) .. pack('<i8i8i8i8', seq + 1, open, closed, scopes) .. sub(meta, 49)
  call('HSET', SCOPES, '', meta)
end
return 'W' .. sub(meta, 1, 24) .. table.concat(answer)
