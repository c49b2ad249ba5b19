"""How the unit tests run hypothesis: the same examples each time, on any machine."""

from hypothesis import settings

# A deadline would fail a slow machine, random examples would fail a lucky one.
settings.register_profile("perfgate", deadline=None, derandomize=True)
settings.load_profile("perfgate")
