"""Loading beside PyTorch's DataLoader: from a folder of files to batches of floats.

    python benchmarks/loader_vs_torch.py FLOWERS --size 224 --rotation 10 --json result.json

Both sides read the same files, with the same number of workers (threads here, processes there),
and make the same changes: resize and crop, flip, shift, rotate, normalise. PyTorch's are written
with Pillow and torch, as torchvision does them. Ours end on the device `cpu`, whose input stage
makes the floats. A round is: our first epoch on an empty cache, theirs (their workers start in it),
our later epochs and theirs, and our first epoch in a later run, when the cache is there.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from command_line import say
from machine import describe_machine, describe_versions, load
from paired_timing import Comparison

from cpcnn.data import (
    Augmentation,
    ImageCache,
    ImageDataset,
    Loader,
    Preprocessing,
    Sample,
    choose_channels,
    read_headers,
    scan_folder,
)
from cpcnn.devices import Device, get_device
from cpcnn.networks import build_network
from cpcnn.training import Network

SCHEMA_VERSION = 1
MEAN, STD = 127.5, 64.0
FIRST, LATER, SECOND_RUN = "first epoch", "later epochs", "first epoch of a later run"
CPCNN, TORCH = "cpcnn, ", "torch, "


@dataclass(frozen=True)
class Work:
    """What both sides do."""

    samples: tuple[Sample, ...]
    classes: tuple[str, ...]
    preprocessing: Preprocessing
    augmentation: Augmentation
    batch_size: int
    workers: int


class Ours:
    """Batches from our loader, changed and normalised by the device."""

    def __init__(self, work: Work, device: Device, cache: Path, kept: str) -> None:
        data = ImageDataset(
            work.samples, work.classes, work.preprocessing, kept=kept, cache=ImageCache(cache)
        )
        data.prepare(workers=work.workers, digests=True)
        data.measure()
        self.loader = Loader(
            data,
            work.batch_size,
            shuffle=True,
            augmentation=work.augmentation,
            workers=work.workers,
        )
        shape = data.image_shape
        self.network = Network(build_network("simple", shape, 2, width=1 / 16))
        self.network.preprocessing = work.preprocessing.to_config()
        self.network.build(shape, seed=0, device=device)
        self.device = device

    def epoch(self, number: int) -> int:
        count = 0
        with self.device.scope():
            ctx = self.network.context(training=True)
            for batch in self.loader.epoch(number):
                count += len(self.network.to_input(ctx, batch))
        self.device.synchronize()
        return count


class Theirs:
    """Batches from PyTorch's DataLoader."""

    def __init__(self, work: Work) -> None:
        from torch.utils.data import DataLoader

        self.loader: Any = DataLoader(
            torch_dataset(work),
            work.batch_size,
            shuffle=True,
            num_workers=work.workers,
            persistent_workers=work.workers > 0,
        )

    def epoch(self, number: int) -> int:
        return sum(len(images) for images, _ in self.loader)


def torch_dataset(work: Work) -> Any:
    """Return the same work as PyTorch's users write it."""
    import torch
    from PIL import Image
    from PIL.Image import Resampling, Transform, Transpose
    from torch.nn.functional import pad

    settings, change = work.preprocessing, work.augmentation
    size, mode = (settings.width, settings.height), "RGB" if settings.channels == 3 else "L"
    positions = {name: number for number, name in enumerate(work.classes)}
    files = [(sample.path, positions[sample.label]) for sample in work.samples]
    reach = round(change.shift * settings.height)

    def centre(image: Any) -> tuple[float, float, float, float]:
        scale = max(size[0] / image.width, size[1] / image.height)
        width, height = min(size[0] / scale, image.width), min(size[1] / scale, image.height)
        left, upper = (image.width - width) / 2, (image.height - height) / 2
        return left, upper, left + width, upper + height

    def rotate(image: Any, random: Any) -> Any:
        turn = np.radians(random.uniform(-change.rotation, change.rotation))
        down, right = random.uniform(-change.shift, change.shift, 2) * size[::-1]
        cosine, sine = np.cos(turn), np.sin(turn)
        x, y = size[0] / 2, size[1] / 2
        matrix = (
            cosine,
            sine,
            x - x * cosine - y * sine + right,
            -sine,
            cosine,
            y + x * sine - y * cosine + down,
        )
        return image.transform(size, Transform.AFFINE, matrix, Resampling.BILINEAR)

    def shifted(tensor: Any, random: Any) -> Any:
        down, right = random.integers(0, 2 * reach + 1, 2)
        padded = pad(tensor, (reach,) * 4, mode="reflect")
        return padded[:, down : down + size[1], right : right + size[0]]

    class Files(torch.utils.data.Dataset[Any]):
        def __len__(self) -> int:
            return len(files)

        def __getitem__(self, index: int) -> tuple[Any, int]:
            path, label = files[index]
            random = np.random.default_rng(torch.randint(1 << 31, ()).item())
            with Image.open(path) as opened:
                image = opened.convert(mode)
            if image.size != size:
                box = centre(image) if settings.resize == "crop" else None
                image = image.resize(size, Resampling.BILINEAR, box=box)
            if change.horizontal_flip and random.random() < 0.5:
                image = image.transpose(Transpose.FLIP_LEFT_RIGHT)
            if change.rotation:
                image = rotate(image, random)
            pixels = np.array(image, np.uint8).reshape(size[1], size[0], -1)
            tensor = torch.from_numpy(pixels).permute(2, 0, 1).float()
            tensor = tensor.sub_(MEAN).div_(STD)
            if reach and not change.rotation:
                tensor = shifted(tensor, random)
            return tensor, label

    return Files()


def measure(work: Work, device: Device, kept: str, rounds: int, epochs: int) -> Comparison:
    """Return seconds per epoch of both sides."""
    seconds: dict[str, list[float]] = {}
    for number in range(rounds):
        with tempfile.TemporaryDirectory(prefix="cpcnn-cache-") as cache:
            for name, took in one_round(work, device, Path(cache), kept, epochs):
                seconds.setdefault(name, []).append(took)
                say(f"round {number + 1}: {name}: {took:.3f} s")
    return Comparison(seconds)


def one_round(
    work: Work, device: Device, cache: Path, kept: str, epochs: int
) -> Iterator[tuple[str, float]]:
    images = len(work.samples)
    took, ours = timed(lambda: begun(lambda: Ours(work, device, cache, kept), images))
    yield CPCNN + FIRST, took
    took, theirs = timed(lambda: begun(lambda: Theirs(work), images))
    yield TORCH + FIRST, took
    for name, side in ((CPCNN, ours), (TORCH, theirs)):
        took, _ = timed(lambda side=side: [side.epoch(1 + k) for k in range(epochs)])  # type: ignore[misc]
        yield name + LATER, took / epochs
    del ours, theirs
    took, _ = timed(lambda: begun(lambda: Ours(work, device, cache, kept), images))
    yield CPCNN + SECOND_RUN, took


def begun(make: Callable[[], Any], images: int) -> Any:
    """Make a side and have its first epoch."""
    side = make()
    if side.epoch(0) != images:
        raise RuntimeError(f"{type(side).__name__} did not give {images} images")
    return side


def timed(call: Callable[[], Any]) -> tuple[float, Any]:
    start = time.perf_counter()
    result = call()
    return time.perf_counter() - start, result


def work_of(options: argparse.Namespace) -> Work:
    folder = scan_folder(options.data, training=False)
    samples = tuple(sample for split in folder.splits.values() for sample in split)
    samples = samples[: options.limit]
    channels = choose_channels(read_headers([sample.path for sample in samples]))
    preprocessing = Preprocessing(
        options.size, options.size, channels, mean=(MEAN,) * channels, std=(STD,) * channels
    )
    return Work(
        samples,
        folder.classes,
        replace(preprocessing, jpeg="reduced"),
        Augmentation(horizontal_flip=True, shift=0.0625, rotation=options.rotation),
        options.batch_size,
        options.workers,
    )


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path, help="folder of images")
    parser.add_argument("--size", type=int, default=224)
    parser.add_argument("--rotation", type=float, default=0.0, help="degrees; 0: none")
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--limit", type=int, help="use that many of the images")
    parser.add_argument("--kept", default="auto", help="auto or disk")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--epochs", type=int, default=3, help="later ones in a round")
    parser.add_argument("--json", type=Path)
    return parser.parse_args(arguments)


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, print the ratios, and write them as JSON if asked."""
    options = parse(sys.argv[1:] if arguments is None else arguments)
    try:
        import torch
    except ImportError:
        say("PyTorch is not installed. Try: pip install -e '.[oracle]'")
        return 2
    device = get_device("cpu")
    torch.set_num_threads(device.threads)  # type: ignore[attr-defined]
    work = work_of(options)
    machine = describe_machine(device)
    found = measure(work, device, options.kept, options.rounds, options.epochs)
    images = len(work.samples)
    rows = []
    for ours, theirs in ((FIRST, FIRST), (LATER, LATER), (SECOND_RUN, FIRST)):
        pair = TORCH + theirs, CPCNN + ours
        low, high = found.quartiles(*pair)
        rates = [images / found.median(name) for name in reversed(pair)]
        rows.append({"what": ours, "ratio": found.ratio(*pair), "quartiles": [low, high]})
        say(
            f"{ours}: {rates[0]:,.0f} images/s, PyTorch {rates[1]:,.0f}: "
            f"{found.ratio(*pair):.2f}× ({low:.2f} to {high:.2f})"
        )
    if options.json:
        document = {
            "schema_version": SCHEMA_VERSION,
            "command": [str(word) for word in sys.argv],
            "machine": machine | {"load_after": load()},
            "versions": describe_versions((*describe_versions(), "pillow")),
            "images": images,
            "shape": list(work.preprocessing.to_config().values())[:3],
            "seconds": found.seconds,
            "ratios": rows,
        }
        options.json.write_text(json.dumps(document, indent=1), encoding="utf-8")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
