"""The report of an evaluation on a terminal of 80 columns."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from cpcnn.evaluate.report import ClassificationReport
from cpcnn.jobs.evaluate import Evaluated, EvaluationPrepared

from .text import bad_file_lines, columns, printable, quoted, shorten

LONGEST_NAME = 38  # leaves room for the four columns of the table
LONGEST_PAIR_NAME = 30
LARGEST_MATRIX = 12  # classes
PAIRS_SHOWN = 5
SPLIT_WORDS = {
    "train": "the training images",
    "validation": "the validation images",
    "test": "the test images",
    "all": "all images",
}


def prepared_lines(event: EvaluationPrepared) -> Iterator[str]:
    """Yield what is evaluated on what."""
    yield f"Model:  {printable(str(event.checkpoint))}"
    yield f"Data:   {printable(str(event.data))}"
    yield f"Images: {SPLIT_WORDS[event.split]}, {event.images:,}"
    yield from bad_file_lines(event.bad_files)


def report_text(evaluated: Evaluated) -> str:
    """Return the whole report: table, confusion matrix, most confused pairs, where it is kept."""
    report = evaluated.evaluation.report
    parts = [
        f"{SPLIT_WORDS[evaluated.prepared.split].capitalize()} ({report.total:,})",
        _with_short_names(report).to_text().rstrip("\n"),
        f"accuracy {report.accuracy:.4f}, macro recall {report.macro.recall:.4f}, "
        f"loss {evaluated.evaluation.loss:.4f}, {evaluated.evaluation.images_per_second:.0f} img/s",
    ]
    if len(report.classes) <= LARGEST_MATRIX:
        parts.append("\n".join(confusion_lines(report)))
    pairs = report.most_confused(PAIRS_SHOWN)
    if pairs:
        parts.append("\n".join(["Most confused (true -> predicted)", *_pair_lines(report)]))
    parts += [f"Note: {printable(note)}" for note in evaluated.notes]
    if evaluated.saved_to is not None:
        parts.append(f"Kept in {quoted(evaluated.saved_to)}: report, confusion matrix, predictions")
    return "\n\n".join(parts)


def confusion_lines(report: ClassificationReport) -> Iterator[str]:
    """Yield the confusion matrix; columns are numbered where the names do not fit."""
    counts = report.counts.tolist()
    cell = max(len(str(value)) for row in counts for value in row)
    names = [shorten(name, 16) for name in report.classes]
    named_width = max(cell, *map(len, names))
    label_width = max(map(len, names))
    fits = label_width + len(names) * (named_width + 2) <= columns()
    if fits:
        heads, rows, cell = names, names, named_width
    else:
        heads = [str(number) for number in range(1, len(names) + 1)]
        rows = [f"{name} {head:>2}" for name, head in zip(names, heads, strict=True)]
        cell = max(cell, 2)
    label_width = max(map(len, rows))
    yield "Confusion matrix (rows: true, columns: predicted)"
    yield " " * label_width + "".join(f"  {head:>{cell}}" for head in heads)
    for name, row in zip(rows, counts, strict=True):
        yield f"{name:>{label_width}}" + "".join(f"  {value:>{cell}}" for value in row)


def _pair_lines(report: ClassificationReport) -> Iterator[str]:
    support = dict(zip(report.classes, report.counts.sum(axis=1).tolist(), strict=True))
    for true, predicted, count in report.most_confused(PAIRS_SHOWN):
        pair = f"{shorten(true, LONGEST_PAIR_NAME)} -> {shorten(predicted, LONGEST_PAIR_NAME)}"
        yield f"  {pair}: {count:,} of {support[true]:,}"


def _with_short_names(report: ClassificationReport) -> ClassificationReport:
    return replace(report, classes=tuple(shorten(name, LONGEST_NAME) for name in report.classes))
