"""The layers of a model as a table of 80 columns, and its totals."""

from __future__ import annotations

from collections.abc import Iterator

from cpcnn.jobs.summary import ModelSummary
from cpcnn.layers.summary import LayerRow
from cpcnn.training.memory import ITEM_SIZE

from .text import columns, hung, printable, shorten

GAP = "  "
NAME = "Layer"
LEFT = (NAME, "Type", "Output")  # columns of words; numbers stand at the right
SHORTEST_NAME = 12
LONGEST_TYPE = 22
UNITS = ("", " k", " M", " G", " T", " P")
MEMORY_UNITS = ("B", "KiB", "MiB", "GiB", "TiB", "PiB")


def summary_text(summary: ModelSummary, *, train: bool = False) -> str:
    """Return the table and the totals; `train` adds what each layer keeps for backward."""
    parts = [
        "\n".join(hung("Model: ", _title(summary))),
        "\n".join(_table(summary, train=train)),
        "\n".join(_totals(summary, train=train)),
        *("\n".join(hung("Note: ", note)) for note in summary.notes),
    ]
    return "\n\n".join(parts)


def _title(summary: ModelSummary) -> str:
    outputs = " x ".join(map(str, summary.output_shape))
    return f"{summary.model}, {_shape(summary.input_shape)} images to {outputs} outputs"


# ---- Layers ------------------------------------------------------------------------------------


def _table(summary: ModelSummary, *, train: bool) -> Iterator[str]:
    rows = [_cells(summary, row) for row in summary.layers]
    place_of = {id(cells): _place(row) for cells, row in zip(rows, summary.layers, strict=True)}
    heads = _shown_heads(rows, train=train)
    widths = {head: max(len(head), *(len(row[head]) for row in rows)) for head in heads}
    widths[NAME] = min(widths[NAME] + 2 * any(place_of.values()), _room_for_names(widths))
    yield _joined({head: head for head in heads}, widths)
    place = ""
    for cells in rows:
        if place_of[id(cells)] != place:
            place = place_of[id(cells)]
            if place:
                yield shorten(place, columns())
        yield _joined(cells, widths, indent="  " if place else "")


def _cells(summary: ModelSummary, row: LayerRow) -> dict[str, str]:
    return {
        NAME: printable(row.path.rpartition(".")[2]) or "-",
        "Type": shorten(row.type, LONGEST_TYPE),
        "Output": _shape(row.output_shape),
        "Parameters": f"{row.parameters:,}",
        "Mult-adds": amount(row.multiply_adds),
        "Kept": memory(summary.kept(row.path)),
    }


def _place(row: LayerRow) -> str:
    """The path of the container that a layer stands in."""
    return printable(row.path.rpartition(".")[0])


def _shown_heads(rows: list[dict[str, str]], *, train: bool) -> list[str]:
    """Return the columns that fit; a narrow terminal goes without some of them."""
    heads = [head for head in rows[0] if train or head != "Kept"] if rows else [NAME]
    for head in ("Type", "Mult-adds", "Output"):
        widths = {name: max(len(name), *(len(row[name]) for row in rows)) for name in heads}
        if _room_for_names(widths) < SHORTEST_NAME:
            heads.remove(head)
    return heads


def _room_for_names(widths: dict[str, int]) -> int:
    return columns() - sum(len(GAP) + width for head, width in widths.items() if head != NAME)


def _joined(cells: dict[str, str], widths: dict[str, int], indent: str = "") -> str:
    parts = []
    for head, width in widths.items():
        side = "<" if head in LEFT else ">"
        text = indent + shorten(cells[head], width - len(indent)) if head == NAME else cells[head]
        parts.append(f"{text:{side}{width}}")
    return GAP.join(parts).rstrip()


# ---- Totals ------------------------------------------------------------------------------------


def _totals(summary: ModelSummary, *, train: bool) -> Iterator[str]:
    fixed = summary.parameters - summary.trainable_parameters
    yield from hung(
        "Parameters:    ",
        f"{summary.parameters:,} ({memory(summary.parameters * ITEM_SIZE)}): "
        f"{summary.trainable_parameters:,} trainable, {fixed:,} not",
    )
    yield f"Multiply-adds: {amount(summary.multiply_adds)} an image"
    yield from hung("Memory:        ", _memory(summary))
    footprint = summary.footprint
    if train and footprint is not None:
        state = footprint.gradients * (1 + summary.slots)
        once = f"{memory(footprint.parameters)} weights, {memory(state)} gradients and optimizer"
        image = f"{memory(footprint.training_image)}, of it {memory(footprint.kept_image)} kept"
        yield from hung("  once:        ", once)
        yield from hung("  each image:  ", f"{image} for backward")


def _memory(summary: ModelSummary) -> str:
    inference, training = summary.inference_bytes, summary.training_bytes
    if inference is None or training is None:
        return "not estimated: one image may not fit into what is free here"
    return (
        f"about {memory(inference)} to classify, {memory(training)} to train "
        f"(batch {summary.batch_size}, {summary.optimizer})"
    )


def _shape(shape: tuple[int, ...]) -> str:
    return "x".join(map(str, shape))


def amount(number: int) -> str:
    """Return a count with three digits and a unit of thousands."""
    return _scaled(number, 1000, UNITS)


def memory(size: int) -> str:
    """Return a number of bytes with three digits and a unit of 1024s."""
    return _scaled(size, 1024, tuple(f" {unit}" for unit in MEMORY_UNITS)) if size else "0"


def _scaled(number: int, step: int, units: tuple[str, ...]) -> str:
    value, unit = float(number), 0
    while value >= step - 0.5 and unit < len(units) - 1:
        value /= step
        unit += 1
    if not unit:
        return f"{number}{units[0]}"
    digits = 2 if value < 9.995 else 1 if value < 99.95 else 0
    return f"{value:.{digits}f}{units[unit]}"
