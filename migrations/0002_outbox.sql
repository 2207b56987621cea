-- What people are told about, and every letter about it until its receiver has taken it. Times are microseconds since the
-- epoch. No address of a webhook, no secret, no prompt and no key is kept here.

-- `event` is the alert as JSON; `addressed` 1: its letters are in the outbox. tenant_id '' is no tenant's.
CREATE TABLE alerts (
    id          TEXT NOT NULL PRIMARY KEY,
    kind        TEXT NOT NULL,
    subject     TEXT NOT NULL,
    tenant_id   TEXT NOT NULL,
    event       TEXT NOT NULL,
    raised_at   BIGINT NOT NULL,
    addressed   SMALLINT NOT NULL DEFAULT 0 CHECK (addressed IN (0, 1))
);
CREATE INDEX alerts_unaddressed ON alerts (raised_at) WHERE addressed = 0;
CREATE INDEX alerts_by_time ON alerts (raised_at);

-- When people were last told so about this; nothing more is said until the cool-down has passed.
CREATE TABLE alert_cooldowns (
    subject    TEXT NOT NULL,
    kind       TEXT NOT NULL,
    raised_at  BIGINT NOT NULL,
    PRIMARY KEY (subject, kind)
);

-- `recipient` is an e-mail address, or host and keyed digest of a webhook's address. A letter that is being sent has its
-- `due_at` moved ahead, so that it is sent again if its sender dies.
CREATE TABLE outbox (
    id          TEXT NOT NULL PRIMARY KEY,
    alert_id    TEXT NOT NULL REFERENCES alerts (id) ON DELETE CASCADE,
    channel     TEXT NOT NULL CHECK (channel IN ('email', 'standard', 'slack', 'teams', 'discord')),
    recipient   TEXT NOT NULL,
    title       TEXT NOT NULL,
    body        TEXT NOT NULL,
    state       TEXT NOT NULL DEFAULT 'waiting' CHECK (state IN ('waiting', 'sent', 'given_up')),
    attempts    BIGINT NOT NULL DEFAULT 0 CHECK (attempts >= 0),
    due_at      BIGINT NOT NULL,
    last_error  TEXT NOT NULL DEFAULT '',
    ended_at    BIGINT
);
CREATE INDEX outbox_due ON outbox (due_at) WHERE state = 'waiting';
CREATE INDEX outbox_by_alert ON outbox (alert_id);
