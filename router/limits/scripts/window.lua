-- One subject's last minute, with the meaning that window.py gives it, kept as one packed string:
-- {owners, owner, its requests in flight, ..., then for each counted second: time of its last request, requests, tokens}.
-- KEYS[1] is the sorted set of owners: every process by the time until which its requests in flight are believed.
local MINUTE, SECOND = 60000000, 1000000
local MAX_CLOCK_STEP = 5000000
local IN_FLIGHT_TTL_MS = 120000
local OWNERS_TTL_MS = 86400000
local floor, ceil, max, min = math.floor, math.ceil, math.max, math.min
local now = clock()

local known = {}
local function is_alive(owner)
  if known[owner] == nil then
    local until_us = redis.call('ZSCORE', KEYS[1], owner)
    known[owner] = until_us ~= false and tonumber(until_us) > now
  end
  return known[owner]
end

-- What has left the minute, and what dead processes held, is not loaded. A clock that was set back (another server has
-- taken over) stands still for a subject until it has caught up; by more than a few seconds, the minute starts anew.
local function load(key)
  local w = {key = key, now = now, owners = {}, parallel = 0, last = {}, requests = {}, tokens = {}, n = 0, all = 0, used = 0}
  local packed = redis.call('GET', key)
  if not packed then return w end
  local flat = cmsgpack.unpack(packed)
  local at = 2
  for _ = 1, flat[1] do
    if is_alive(flat[at]) then
      w.owners[flat[at]] = flat[at + 1]
      w.parallel = w.parallel + flat[at + 1]
    end
    at = at + 2
  end
  if at <= #flat and flat[#flat - 2] > now then
    if flat[#flat - 2] > now + MAX_CLOCK_STEP then return w end
    w.now = flat[#flat - 2]
  end
  for i = at, #flat, 3 do
    if flat[i] > w.now - MINUTE then
      local n = w.n + 1
      w.n, w.last[n], w.requests[n], w.tokens[n] = n, flat[i], flat[i + 1], flat[i + 2]
      w.all, w.used = w.all + flat[i + 1], w.used + flat[i + 2]
    end
  end
  return w
end

local function store(w)
  local flat, owners = {0}, 0
  for owner, held in pairs(w.owners) do
    owners = owners + 1
    flat[#flat + 1], flat[#flat + 2] = owner, held
  end
  flat[1] = owners
  for i = 1, w.n do
    local at = #flat
    flat[at + 1], flat[at + 2], flat[at + 3] = w.last[i], w.requests[i], w.tokens[i]
  end
  if #flat == 1 then
    redis.call('DEL', w.key)
    return
  end
  local ttl_ms = IN_FLIGHT_TTL_MS
  if owners == 0 then ttl_ms = ceil((w.last[w.n] + MINUTE - now) / 1000) + 1000 end
  redis.call('SET', w.key, cmsgpack.pack(flat), 'PX', ttl_ms)
end

local function hold(w, owner, difference)
  local before = w.owners[owner] or 0
  local after = max(before + difference, 0)
  w.parallel = w.parallel + after - before
  w.owners[owner] = after > 0 and after or nil
end

local function take(w, tokens)
  local n = w.n
  if n == 0 or floor(w.last[n] / SECOND) ~= floor(w.now / SECOND) then
    n = n + 1
    w.n, w.requests[n], w.tokens[n] = n, 0, 0
  end
  w.last[n], w.requests[n], w.tokens[n] = w.now, w.requests[n] + 1, w.tokens[n] + tokens
  w.all, w.used = w.all + 1, w.used + tokens
end

-- A second can hold less than it was given only where the data was lost in between: it stays at nothing then.
local function correct(w, second, difference)
  for i = w.n, 1, -1 do
    if floor(w.last[i] / SECOND) == second then
      local before = w.tokens[i]
      w.tokens[i] = max(before + difference, 0)
      w.used = w.used + w.tokens[i] - before
      return
    end
  end
end

-- Microseconds until `wanted` of `counts`, or all of them, have left the window; 0 when there are none.
local function free_us(w, counts, wanted, sum)
  local left = min(wanted, sum)
  for i = 1, w.n do
    if left <= 0 then return 0 end
    left = left - counts[i]
    if left <= 0 then return w.last[i] + MINUTE - w.now end
  end
  return 0
end
