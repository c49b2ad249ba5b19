"""Which plugins the suite is made of; they hold the logic, not this file."""

pytest_plugins = [
    "perfgate.plugin",
    "fixtures.environment",
    "fixtures.engines",
    "fixtures.measurements",
    "fixtures.mocked",
    "pytester",
]
