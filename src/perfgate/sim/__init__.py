"""The simulated engine: scheduler, KV blocks, GPU cost, and the two clocks it runs in."""
