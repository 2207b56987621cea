"""routerd: one daemon between an organisation's applications and its model providers."""
