-- ARGV: now or '', then path and span pairs. Answers limits, window key and sums of each, at one
-- moment; it writes nothing.
local found, refusal = accounts(now_ms(ARGV[1]), 2)
if not found then return refusal end
local answer = { 'FOUND' }
for _, each in ipairs(found) do
  answer[#answer + 1] = each.limits
  answer[#answer + 1] = each.key
  answer[#answer + 1] = each.sums
end
return answer
