-- Idempotency keys of callers, for 24 hours. `name` is a keyed digest of tenant, API key, route and the caller's text,
-- `fingerprint` one of the body and the tier: neither can be read back. Times are microseconds since the epoch.

-- open: the process `instance` works on it. kept: `answer` is what was answered, encrypted. spent: it was answered, and the answer is
-- too large to be kept. `claim` is the request that opened it.
CREATE TABLE idempotency_keys (
    name         TEXT NOT NULL PRIMARY KEY,
    fingerprint  TEXT NOT NULL,
    claim        TEXT NOT NULL,
    instance     TEXT NOT NULL,
    state        TEXT NOT NULL CHECK (state IN ('open', 'kept', 'spent')),
    answer       BYTEA CHECK ((answer IS NOT NULL) = (state = 'kept')),
    expires_at   BIGINT NOT NULL CHECK (expires_at >= 0)
);
CREATE INDEX idempotency_keys_by_expiry ON idempotency_keys (expires_at);
CREATE INDEX idempotency_keys_open ON idempotency_keys (instance) WHERE state = 'open';
