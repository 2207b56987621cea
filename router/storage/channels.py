"""The names under which processes on one PostgreSQL tell each other things (LISTEN, NOTIFY). SQLite has none."""

CHANGED = "routerd_changed"
"""Keys, tenants, their limits or budgets, accounts: sent by triggers (migration 0006), without a payload."""

WANTED = "routerd_wanted"
"""A budget was refused while others held some of it. The payload is a JSON array: who asks, budget, period."""
