-- A member's budget counts what all keys of that member in the tenant spend. member_id is the user a key belongs to: a member
-- of the key's tenant, whose membership decides whether the key still serves.
ALTER TABLE memberships ADD COLUMN budget_nano BIGINT CHECK (budget_nano >= 0);
ALTER TABLE api_keys ADD COLUMN member_id TEXT REFERENCES users (id);

-- Whose key it was; '' where the key belonged to no member.
ALTER TABLE requests ADD COLUMN member TEXT NOT NULL DEFAULT '';
