"""The load harness: routerd beside a bare aiohttp reverse proxy, in one run on one machine."""
