"""What all tests share: the Hypothesis profiles."""

from hypothesis import settings

# Repeatable everywhere: the same examples on every run, no clock, nothing remembered on disk.
settings.register_profile("ci", deadline=None, derandomize=True, database=None, max_examples=50)
settings.register_profile("long", settings.get_profile("ci"), max_examples=1000)
settings.load_profile("ci")
