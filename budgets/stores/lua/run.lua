-- Which run of the server this is, 40 bytes: it changes with every start.
local function run_id()
  local info = redis.pcall('INFO', 'server')
  local run = type(info) == 'string' and string.match(info, 'run_id:(%x+)') or ''
  return run .. string.rep('0', 40 - #run)
end
