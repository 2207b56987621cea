-- The only place that asks for the time: every process is measured by the server's clock. Microseconds since the epoch.
local function clock()
  local time = redis.call('TIME')
  return time[1] * 1000000 + time[2]
end
