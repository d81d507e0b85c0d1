"""Results of a cross-validation on the screen."""

from __future__ import annotations

from cpcnn.jobs.fold_results import MEASURES, FoldResult, FoldsEnded

HEADINGS = {"accuracy": "accuracy", "macro_recall": "macro recall", "macro_f1": "macro F1"}
WIDTH = 18


def fold_line(result: FoldResult, folds: int) -> str:
    """Return what one fold came to."""
    figures = ", ".join(f"{HEADINGS[name]} {getattr(result, name):.4f}" for name in MEASURES)
    return f"Fold {result.fold}/{folds}: {figures} (epoch {result.best_epoch})"


def folds_table(end: FoldsEnded) -> str:
    """Return a row for each fold, and the mean ± sample standard deviation of all."""
    lines = ["Validation of the best epoch of each fold"]
    lines.append(f"{'fold':<8}{'images':>8}" + _row([HEADINGS[name] for name in MEASURES]))
    for result in end.results:
        figures = _row([f"{getattr(result, name):.4f}" for name in MEASURES])
        lines.append(f"{result.fold:<8}{result.validation_images:>8,}{figures}")
    mean, std = end.mean(), end.std()
    if std:
        total = sum(result.validation_images for result in end.results)
        figures = _row([f"{mean[name]:.4f} ± {std[name]:.4f}" for name in MEASURES])
        lines.append(f"{'mean':<8}{total:>8,}{figures}")
    return "\n".join(lines)


def _row(cells: list[str]) -> str:
    return "".join(f"{cell:>{WIDTH}}" for cell in cells)
