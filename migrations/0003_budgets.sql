-- Money is nano-USD, times are microseconds since the epoch. What is spent or set aside stays below three billion dollars, so
-- that neither engine can overflow.

-- A daemon that runs, or ran: seen_at is its last sign of life.
CREATE TABLE instances (
    id          TEXT NOT NULL PRIMARY KEY,
    host        TEXT NOT NULL,
    pid         BIGINT NOT NULL,
    started_at  BIGINT NOT NULL CHECK (started_at >= 0),
    seen_at     BIGINT NOT NULL CHECK (seen_at >= 0)
);

-- The truth about a budget: what was spent in a period, and what processes hold of it in leases. A rolling schedule has a
-- row for each local day, and a header row (`rolling030`, without a day, always empty) whose lock orders those who take.
-- wanted counts refusals while others held something.
CREATE TABLE budget_periods (
    budget       TEXT NOT NULL,
    period       TEXT NOT NULL,
    posted_nano  BIGINT NOT NULL DEFAULT 0 CHECK (posted_nano >= 0 AND posted_nano <= 3000000000000000000),
    leased_nano  BIGINT NOT NULL DEFAULT 0 CHECK (leased_nano >= 0 AND leased_nano <= 3000000000000000000),
    wanted       BIGINT NOT NULL DEFAULT 0 CHECK (wanted >= 0),
    PRIMARY KEY (budget, period)
);

-- What one process holds. taken_nano and returned_nano only grow: they let a process find out what became of a statement
-- whose answer it never got.
CREATE TABLE leases (
    instance        TEXT NOT NULL,
    budget          TEXT NOT NULL,
    period          TEXT NOT NULL,
    remaining_nano  BIGINT NOT NULL CHECK (remaining_nano >= 0),
    taken_nano      BIGINT NOT NULL CHECK (taken_nano >= 0),
    returned_nano   BIGINT NOT NULL DEFAULT 0 CHECK (returned_nano >= 0),
    taken_at        BIGINT NOT NULL CHECK (taken_at >= 0),
    renewed_at      BIGINT NOT NULL CHECK (renewed_at >= 0),
    PRIMARY KEY (instance, budget, period),
    FOREIGN KEY (budget, period) REFERENCES budget_periods (budget, period)
);

-- Which attempt counts against which budget; budget_periods.posted_nano is their sum.
CREATE TABLE postings (
    request    TEXT NOT NULL,
    attempt    BIGINT NOT NULL,
    budget     TEXT NOT NULL,
    period     TEXT NOT NULL,
    cost_nano  BIGINT NOT NULL CHECK (cost_nano >= 0),
    PRIMARY KEY (request, attempt, budget)
);
