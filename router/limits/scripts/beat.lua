-- A process is alive. KEYS[2] is the epoch, KEYS[3] on are windows in which it has requests in flight; ARGV: its name, and for
-- how long it is to be believed (us). Answers 0 where something of it is gone, so that it says everything anew.
if not is_alive(ARGV[1]) then return 0 end
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', now)
redis.call('ZADD', KEYS[1], now + ARGV[2], ARGV[1])
redis.call('PEXPIRE', KEYS[1], OWNERS_TTL_MS)
local found = redis.call('PEXPIRE', KEYS[2], OWNERS_TTL_MS)
for i = 3, #KEYS do
  found = found * redis.call('PEXPIRE', KEYS[i], IN_FLIGHT_TTL_MS)
end
return found
