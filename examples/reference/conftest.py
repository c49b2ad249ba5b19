"""The suite of this folder: perfgate's plugin and fixtures, and nothing of its own."""

pytest_plugins = [
    "perfgate.plugin",
    "fixtures.environment",
    "fixtures.engines",
    "fixtures.measurements",
]
