-- Settlements first, then requests in the order in which they came, each under all of its rules or none.
-- ARGV[1]: {owner, {key, second, token difference, requests ended}*, {rules, tokens, {key, requests, tokens, parallel}*}*},
-- where a key is a place in KEYS and -1 is no limit. Answers {now, nine numbers a request}, or {0} to an unknown owner.
local batch = cmsgpack.unpack(ARGV[1])
local owner, settled, asked = batch[1], batch[2], batch[3]
if not is_alive(owner) then return cmsgpack.pack({0}) end

local PARALLEL_RETRY_MS = 1000
local REQUESTS, TOKENS, PARALLEL = 1, 2, 3
local windows = {}

local function window(key)
  local w = windows[key]
  if w == nil then
    w = load(KEYS[key])
    windows[key] = w
  end
  return w
end

local function ms(us) return ceil(us / 1000) end

-- Of everything that says no, what will say no the longest.
local function refusal(rules)
  local by, what, longest = 0, 0, -1
  local function note(i, resource, wait_ms)
    if wait_ms > longest then by, what, longest = i, resource, wait_ms end
  end
  for i, rule in ipairs(rules) do
    local w = rule.w
    if rule.requests >= 0 and w.all >= rule.requests then
      note(i, REQUESTS, ms(rule.requests == 0 and MINUTE or free_us(w, w.requests, w.all + 1 - rule.requests, w.all)))
    end
    if rule.tokens >= 0 and (w.used + rule.hold > rule.tokens or rule.tokens == 0) then
      note(i, TOKENS, ms(rule.tokens == 0 and MINUTE or free_us(w, w.tokens, w.used + rule.hold - rule.tokens, w.used)))
    end
    if rule.parallel >= 0 and w.parallel >= rule.parallel then note(i, PARALLEL, PARALLEL_RETRY_MS) end
  end
  return by, what, longest
end

-- What is left by the rule that leaves least, for each resource: which rule, how much, and when more is free.
local function allowance(rules, out)
  local r, t, left_r, left_t = 0, 0, 0, 0
  for i, rule in ipairs(rules) do
    local left = rule.requests - rule.w.all
    if rule.requests >= 0 and (r == 0 or left < left_r) then r, left_r = i, left end
    left = rule.tokens - rule.w.used
    if rule.tokens >= 0 and (t == 0 or left < left_t) then t, left_t = i, left end
  end
  local n = #out
  out[n + 1], out[n + 2], out[n + 3] = r, max(left_r, 0), 0
  out[n + 4], out[n + 5], out[n + 6] = t, max(left_t, 0), 0
  if r > 0 then out[n + 3] = ms(free_us(rules[r].w, rules[r].w.requests, 1, rules[r].w.all)) end
  if t > 0 then out[n + 6] = ms(free_us(rules[t].w, rules[t].w.tokens, rules[t].hold, rules[t].w.used)) end
end

for i = 1, #settled, 4 do
  local w = window(settled[i])
  hold(w, owner, -settled[i + 3])
  if settled[i + 2] ~= 0 then correct(w, settled[i + 1], settled[i + 2]) end
  w.changed = true
end

local out, at = {now}, 1
while at <= #asked do
  local tokens, rules, refused = asked[at + 1], {}, false
  for i = 1, asked[at] do
    local from = at + 4 * i - 2
    local rule = {w = window(asked[from]), requests = asked[from + 1], tokens = asked[from + 2], parallel = asked[from + 3]}
    rule.hold = rule.tokens >= 0 and min(tokens, rule.tokens) or tokens
    refused = refused
      or (rule.requests >= 0 and rule.w.all >= rule.requests)
      or (rule.parallel >= 0 and rule.w.parallel >= rule.parallel)
      or (rule.tokens >= 0 and (rule.w.used + rule.hold > rule.tokens or rule.tokens == 0))
    rules[i] = rule
  end
  at = at + 2 + 4 * #rules
  local by, what, wait_ms = 0, 0, 0
  if refused then
    by, what, wait_ms = refusal(rules)
  else
    for _, rule in ipairs(rules) do
      hold(rule.w, owner, 1)
      take(rule.w, rule.hold)
      rule.w.changed = true
    end
  end
  local n = #out
  out[n + 1], out[n + 2], out[n + 3] = by, what, wait_ms
  allowance(rules, out)
end

for _, w in pairs(windows) do
  if w.changed then store(w) end
end
return cmsgpack.pack(out)
