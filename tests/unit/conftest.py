"""How the unit tests run: hypothesis draws the same examples each time, on any machine."""

from hypothesis import settings

from tests.unit import triton_backend  # noqa: F401 - puts the stand-in where Triton's models look

# A deadline would fail a slow machine, random examples would fail a lucky one.
settings.register_profile("perfgate", deadline=None, derandomize=True)
settings.load_profile("perfgate")
