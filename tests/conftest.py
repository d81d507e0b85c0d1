"""What all tests share: Hypothesis profiles, what tests count, and a word about the GPU."""

from collections import Counter
from collections.abc import Callable, Iterator

import pytest
from hypothesis import settings

# Repeatable everywhere: the same examples on every run, no clock, nothing remembered on disk.
settings.register_profile("ci", deadline=None, derandomize=True, database=None, max_examples=50)
settings.register_profile("long", settings.get_profile("ci"), max_examples=200)
settings.load_profile("ci")

COUNTED = "counted: "


@pytest.fixture(autouse=True, scope="session")
def image_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Keep decoded images of tests out of the user's cache, also in processes that they start."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CPCNN_IMAGE_CACHE", str(tmp_path_factory.mktemp("image-cache")))
        yield


@pytest.fixture
def count(record_property: Callable[[str, object], None]) -> Callable[[int, str], None]:
    """Return a function that adds to a number that is printed at the end: count(3, "blocks")."""
    return lambda number, what: record_property(COUNTED + what, number)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    report_counts(terminalreporter)
    report_missing_gpu(terminalreporter)


def report_counts(terminalreporter: pytest.TerminalReporter) -> None:
    """Print the sums of what passing tests have counted."""
    totals: Counter[str] = Counter()
    for report in terminalreporter.stats.get("passed", []):
        for name, value in report.user_properties:
            if name.startswith(COUNTED):
                totals[name.removeprefix(COUNTED)] += value
    if totals:
        terminalreporter.section("counted", sep="-")
        for what, total in sorted(totals.items()):
            terminalreporter.line(f"{total:,} {what}")


def report_missing_gpu(terminalreporter: pytest.TerminalReporter) -> None:
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
