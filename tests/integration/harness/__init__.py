"""Real clusters, real processes, real networks for the integration tests.

Each module is one noun: `wait` (conditions with a deadline), `ports`, `cluster` (PostgreSQL servers), `pgtide` (the program under
test), `proxy` (a bad network), `compare` (the verdict), `load` (writers), `leftovers` (what must be gone), `world` (owns all of
them in one test and shows their logs when it fails).
"""
