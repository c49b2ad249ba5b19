"""Seeded regressions and injected faults: what the gate must and must not say."""
