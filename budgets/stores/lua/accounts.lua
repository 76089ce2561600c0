-- ARGV: now or '', how many paths, the paths, and their spans where they were asked for. Answers
-- with their records at one moment.
local records, refusal = accounts(now_ms(ARGV[1]), 3, 2 + tonumber(ARGV[2]))
return records and { 'FOUND', unpack(records) } or refusal
