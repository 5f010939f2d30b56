"""Load on a real replay service without an environment: simulated actors, and a ledger of what was acknowledged: `sojourn bench load`."""
