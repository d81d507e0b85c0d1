"""What all tests share: the Hypothesis profiles, and a word about the GPU."""

import pytest
from hypothesis import settings

# Repeatable everywhere: the same examples on every run, no clock, nothing remembered on disk.
settings.register_profile("ci", deadline=None, derandomize=True, database=None, max_examples=50)
settings.register_profile("long", settings.get_profile("ci"), max_examples=200)
settings.load_profile("ci")


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say how many tests a GPU would have run, and why there was none."""
    # a whole module that is skipped has a report without keywords
    skipped = [
        report
        for report in terminalreporter.stats.get("skipped", [])
        if "gpu" in getattr(report, "keywords", ())
    ]
    if skipped:
        terminalreporter.section("no GPU", sep="-", yellow=True)
        reason = skipped[0].longrepr[2].removeprefix("Skipped: ")
        terminalreporter.line(f"{len(skipped)} GPU tests were skipped: {reason}")
