-- Responses that callers may fetch, continue and cancel, until `expires_at`. A turn holds its own items alone; what came before it
-- is under `previous_id`, which stays as long as a later turn names it. Times are microseconds since the epoch.

-- input: the request's items, a JSON array. answer: the response object; what `status` says goes before what it says. Both encrypted.
-- is_open 1: the process `instance` works on it, or has yet to learn that somebody else has cancelled it.
CREATE TABLE responses (
    id            TEXT NOT NULL PRIMARY KEY,
    tenant_id     TEXT NOT NULL,
    previous_id   TEXT,
    status        TEXT NOT NULL CHECK (status IN ('queued', 'in_progress', 'completed', 'failed', 'cancelled', 'incomplete')),
    is_background INTEGER NOT NULL CHECK (is_background IN (0, 1)),
    is_streamed   INTEGER NOT NULL CHECK (is_streamed IN (0, 1)),
    is_open       INTEGER NOT NULL CHECK (is_open IN (0, 1)),
    instance      TEXT NOT NULL,
    input         BYTEA NOT NULL,
    answer        BYTEA NOT NULL,
    created_at    BIGINT NOT NULL CHECK (created_at >= 0),
    expires_at    BIGINT NOT NULL CHECK (expires_at >= 0)
);
CREATE INDEX responses_by_expiry ON responses (expires_at);
CREATE INDEX responses_by_previous ON responses (previous_id) WHERE previous_id IS NOT NULL;
CREATE INDEX responses_open ON responses (instance) WHERE is_open = 1;

-- Where the item of an id is, for requests that name it instead of repeating it.
CREATE TABLE response_items (
    tenant_id    TEXT NOT NULL,
    item_id      TEXT NOT NULL,
    response_id  TEXT NOT NULL,
    PRIMARY KEY (tenant_id, item_id, response_id)
);
CREATE INDEX response_items_by_response ON response_items (response_id);

-- The events of a stream in the background, for those who come later; encrypted.
CREATE TABLE response_events (
    response_id  TEXT NOT NULL,
    number       INTEGER NOT NULL CHECK (number >= 0),
    frames       BYTEA NOT NULL,
    PRIMARY KEY (response_id, number)
);
