-- What reranking is sold by: a query over up to a hundred documents is one search.
ALTER TABLE requests ADD COLUMN searches BIGINT NOT NULL DEFAULT 0 CHECK (searches >= 0);
ALTER TABLE attempts ADD COLUMN searches BIGINT NOT NULL DEFAULT 0 CHECK (searches >= 0);
