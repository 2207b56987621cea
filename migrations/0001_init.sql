-- Both engines run this text. Money is nano-USD, times are microseconds since the epoch, lists and maps are JSON text,
-- booleans are 0 or 1.

CREATE TABLE tenants (
    id          TEXT NOT NULL PRIMARY KEY,
    name        TEXT NOT NULL UNIQUE,
    status      TEXT NOT NULL CHECK (status IN ('active', 'suspended', 'disabled')),
    models      TEXT NOT NULL,
    defaults    TEXT NOT NULL,
    tiers       TEXT NOT NULL,
    created_at  BIGINT NOT NULL,
    updated_at  BIGINT NOT NULL
);

CREATE TABLE tenant_limits (
    tenant_id       TEXT NOT NULL PRIMARY KEY REFERENCES tenants (id),
    limit_requests  BIGINT CHECK (limit_requests >= 0),
    limit_tokens    BIGINT CHECK (limit_tokens >= 0),
    limit_parallel  BIGINT CHECK (limit_parallel >= 0),
    disabled        SMALLINT NOT NULL DEFAULT 0 CHECK (disabled IN (0, 1)),
    updated_at      BIGINT NOT NULL
);

CREATE TABLE tenant_budgets (
    tenant_id          TEXT NOT NULL PRIMARY KEY REFERENCES tenants (id),
    budget_nano        BIGINT NOT NULL CHECK (budget_nano >= 0),
    mode               TEXT NOT NULL CHECK (mode IN ('hard', 'soft')),
    schedule           TEXT NOT NULL,
    timezone           TEXT NOT NULL,
    warning_ppm        BIGINT NOT NULL CHECK (warning_ppm >= 0),
    alert_emails       TEXT NOT NULL,
    alert_webhooks     TEXT NOT NULL,
    alert_cooldown_us  BIGINT NOT NULL CHECK (alert_cooldown_us >= 0),
    disabled           SMALLINT NOT NULL DEFAULT 0 CHECK (disabled IN (0, 1)),
    updated_at         BIGINT NOT NULL
);

CREATE TABLE api_keys (
    id              TEXT NOT NULL PRIMARY KEY,
    tenant_id       TEXT NOT NULL REFERENCES tenants (id),
    name            TEXT NOT NULL,
    prefix          TEXT NOT NULL UNIQUE,
    digest          TEXT NOT NULL,
    scopes          TEXT NOT NULL,
    models          TEXT NOT NULL,
    expires_at      BIGINT,
    disabled        SMALLINT NOT NULL DEFAULT 0 CHECK (disabled IN (0, 1)),
    limit_requests  BIGINT CHECK (limit_requests >= 0),
    limit_tokens    BIGINT CHECK (limit_tokens >= 0),
    limit_parallel  BIGINT CHECK (limit_parallel >= 0),
    budget_nano     BIGINT CHECK (budget_nano >= 0),
    created_at      BIGINT NOT NULL,
    updated_at      BIGINT NOT NULL
);
CREATE INDEX api_keys_by_tenant ON api_keys (tenant_id, prefix);

-- An e-mail address is kept in lower case. password_hash '' is an account that cannot log in by password.
CREATE TABLE users (
    id             TEXT NOT NULL PRIMARY KEY,
    email          TEXT NOT NULL UNIQUE,
    name           TEXT NOT NULL,
    password_hash  TEXT NOT NULL,
    is_admin       SMALLINT NOT NULL DEFAULT 0 CHECK (is_admin IN (0, 1)),
    disabled       SMALLINT NOT NULL DEFAULT 0 CHECK (disabled IN (0, 1)),
    created_at     BIGINT NOT NULL,
    updated_at     BIGINT NOT NULL
);

CREATE TABLE memberships (
    tenant_id   TEXT NOT NULL REFERENCES tenants (id),
    user_id     TEXT NOT NULL REFERENCES users (id),
    role        TEXT NOT NULL CHECK (role IN ('owner', 'admin', 'viewer', 'user')),
    disabled    SMALLINT NOT NULL DEFAULT 0 CHECK (disabled IN (0, 1)),
    updated_at  BIGINT NOT NULL,
    PRIMARY KEY (tenant_id, user_id)
);
CREATE INDEX memberships_by_user ON memberships (user_id);

-- The last applied form of each item of the file's bootstrap section. digest '' is an item the file has dropped.
CREATE TABLE bootstrap_items (
    kind        TEXT NOT NULL,
    identity    TEXT NOT NULL,
    digest      TEXT NOT NULL,
    applied_at  BIGINT NOT NULL,
    PRIMARY KEY (kind, identity)
);

CREATE TABLE snapshots (
    fingerprint  TEXT NOT NULL PRIMARY KEY,
    masked_yaml  TEXT NOT NULL,
    first_seen   BIGINT NOT NULL
);

-- Names of tenant and key are kept as they were: the ledger outlives what it names.
CREATE TABLE requests (
    id                   TEXT NOT NULL PRIMARY KEY,
    request_id           TEXT NOT NULL,
    tenant_id            TEXT NOT NULL,
    tenant_name          TEXT NOT NULL,
    key_id               TEXT NOT NULL,
    key_name             TEXT NOT NULL,
    api                  TEXT NOT NULL,
    alias                TEXT NOT NULL,
    requested_model      TEXT NOT NULL,
    stream               SMALLINT NOT NULL CHECK (stream IN (0, 1)),
    outcome              TEXT NOT NULL,
    status               BIGINT NOT NULL,
    code                 TEXT NOT NULL,
    started_at           BIGINT NOT NULL CHECK (started_at >= 0),
    duration_us          BIGINT NOT NULL CHECK (duration_us >= 0),
    first_byte_us        BIGINT CHECK (first_byte_us >= 0),
    input_tokens         BIGINT NOT NULL CHECK (input_tokens >= 0),
    output_tokens        BIGINT NOT NULL CHECK (output_tokens >= 0),
    cached_input_tokens  BIGINT NOT NULL CHECK (cached_input_tokens >= 0),
    cache_write_tokens   BIGINT NOT NULL CHECK (cache_write_tokens >= 0),
    reasoning_tokens     BIGINT NOT NULL CHECK (reasoning_tokens >= 0),
    audio_input_tokens   BIGINT NOT NULL CHECK (audio_input_tokens >= 0),
    audio_output_tokens  BIGINT NOT NULL CHECK (audio_output_tokens >= 0),
    estimated            SMALLINT NOT NULL CHECK (estimated IN (0, 1)),
    suspect              SMALLINT NOT NULL CHECK (suspect IN (0, 1)),
    cost_nano            BIGINT NOT NULL CHECK (cost_nano >= 0),
    price_known          SMALLINT NOT NULL CHECK (price_known IN (0, 1)),
    end_user             TEXT NOT NULL,
    metadata             TEXT NOT NULL,
    fingerprint          TEXT NOT NULL,
    draw                 DOUBLE PRECISION NOT NULL,
    facets               TEXT NOT NULL,
    health               TEXT NOT NULL
);
CREATE INDEX requests_by_time ON requests (started_at);
CREATE INDEX requests_by_request_id ON requests (request_id);

CREATE TABLE attempts (
    request               TEXT NOT NULL REFERENCES requests (id) ON DELETE CASCADE,
    attempt               BIGINT NOT NULL CHECK (attempt >= 0),
    alias                 TEXT NOT NULL,
    provider              TEXT NOT NULL,
    target                TEXT NOT NULL,
    upstream_model        TEXT NOT NULL,
    credential            TEXT NOT NULL,
    outcome               TEXT NOT NULL,
    started_at            BIGINT NOT NULL CHECK (started_at >= 0),
    duration_us           BIGINT NOT NULL CHECK (duration_us >= 0),
    status                BIGINT,
    first_byte_us         BIGINT CHECK (first_byte_us >= 0),
    input_tokens          BIGINT NOT NULL CHECK (input_tokens >= 0),
    output_tokens         BIGINT NOT NULL CHECK (output_tokens >= 0),
    cached_input_tokens   BIGINT NOT NULL CHECK (cached_input_tokens >= 0),
    cache_write_tokens    BIGINT NOT NULL CHECK (cache_write_tokens >= 0),
    reasoning_tokens      BIGINT NOT NULL CHECK (reasoning_tokens >= 0),
    audio_input_tokens    BIGINT NOT NULL CHECK (audio_input_tokens >= 0),
    audio_output_tokens   BIGINT NOT NULL CHECK (audio_output_tokens >= 0),
    estimated             SMALLINT NOT NULL CHECK (estimated IN (0, 1)),
    suspect               SMALLINT NOT NULL CHECK (suspect IN (0, 1)),
    cost_nano             BIGINT NOT NULL CHECK (cost_nano >= 0),
    price_known           SMALLINT NOT NULL CHECK (price_known IN (0, 1)),
    held_nano             BIGINT NOT NULL CHECK (held_nano >= 0),
    upstream_request_id   TEXT NOT NULL,
    reason                TEXT NOT NULL,
    PRIMARY KEY (request, attempt)
);

-- A request may carry one name several times.
CREATE TABLE tags (
    request  TEXT NOT NULL REFERENCES requests (id) ON DELETE CASCADE,
    name     TEXT NOT NULL,
    value    TEXT NOT NULL,
    PRIMARY KEY (request, name, value)
);
