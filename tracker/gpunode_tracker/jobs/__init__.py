"""Queued jobs: their order, who may take them, leases and attempts. Pure; ``storage.jobs`` keeps them."""
