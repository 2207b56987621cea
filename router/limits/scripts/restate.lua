-- A process says anew what is its own: after its connection failed, after the data was lost, at its start.
-- KEYS[2] is the epoch: who made the data; another answer than last time means that the old data is gone.
-- ARGV[1]: {owner, believed for (us), names it had before, {requests in flight, {age (us), requests, tokens}*} for KEYS[3] on}.
-- The requests in flight replace what was there; the seconds are added to it.
local told = cmsgpack.unpack(ARGV[1])
local owner, believed_us, before, subjects = told[1], told[2], told[3], told[4]

redis.call('ZADD', KEYS[1], now + believed_us, owner)
redis.call('PEXPIRE', KEYS[1], OWNERS_TTL_MS)
known[owner] = true
for _, name in ipairs(before) do
  redis.call('ZREM', KEYS[1], name)
  known[name] = false
end
redis.call('SET', KEYS[2], owner, 'NX')
redis.call('PEXPIRE', KEYS[2], OWNERS_TTL_MS)

local function add(w, last, requests, tokens)
  local i = w.n
  while i > 0 and floor(w.last[i] / SECOND) > floor(last / SECOND) do i = i - 1 end
  if i > 0 and floor(w.last[i] / SECOND) == floor(last / SECOND) then
    w.last[i] = max(w.last[i], last)
    w.requests[i], w.tokens[i] = w.requests[i] + requests, w.tokens[i] + tokens
    return
  end
  table.insert(w.last, i + 1, last)
  table.insert(w.requests, i + 1, requests)
  table.insert(w.tokens, i + 1, tokens)
  w.n = w.n + 1
end

for k, subject in ipairs(subjects) do
  local w = load(KEYS[k + 2])
  hold(w, owner, subject[1] - (w.owners[owner] or 0))
  for i = 2, #subject, 3 do
    if subject[i] < MINUTE then add(w, w.now - subject[i], subject[i + 1], subject[i + 2]) end
  end
  store(w)
end
return redis.call('GET', KEYS[2])
