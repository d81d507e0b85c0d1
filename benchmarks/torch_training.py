"""What `cpcnn train DATA --model simple` and `cpcnn eval` do, as a script for PyTorch.

    python benchmarks/torch_training.py FASHION_MNIST --epochs 5 --size 28 --channels 1

A folder with train/<class>/ and test/<class>/ is read by a DataLoader in worker processes; a fifth
of the training images is held out, the best epoch by them is kept, and the test images are scored.
It imports nothing of cpcnn.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import nn
from torch.nn.functional import cross_entropy, pad
from torch.utils.data import DataLoader, Dataset

HELD_OUT, FLIP, SHIFT = 0.2, 0.5, 0.0625
Files = list[tuple[str, int]]


class Images(Dataset[Any]):
    """Files of images as tensors (C, H, W), with their labels."""

    def __init__(self, files: Files, options: argparse.Namespace, *, augment: bool) -> None:
        self.files, self.augment = files, augment
        self.size, self.mode = options.size, "L" if options.channels == 1 else "RGB"
        self.reach = round(SHIFT * options.size)

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, index: int) -> tuple[torch.Tensor, int]:
        path, label = self.files[index]
        with Image.open(path) as opened:
            image = opened.convert(self.mode)
        if image.size != (self.size, self.size):
            image = image.resize((self.size, self.size), Image.Resampling.BILINEAR)
        pixels = np.array(image, np.uint8).reshape(self.size, self.size, -1)
        tensor = torch.from_numpy(pixels).permute(2, 0, 1).float().div_(255)
        return self.changed(tensor) if self.augment else tensor, label

    def changed(self, tensor: torch.Tensor) -> torch.Tensor:
        if torch.rand(()) < FLIP:
            tensor = tensor.flip(2)
        down, right = torch.randint(2 * self.reach + 1, (2,)).tolist()
        padded = pad(tensor, (self.reach,) * 4, mode="reflect")
        return padded[:, down : down + self.size, right : right + self.size]


def listed(folder: Path) -> Files:
    classes = sorted(entry.name for entry in folder.iterdir() if entry.is_dir())
    return [
        (entry.path, label)
        for label, name in enumerate(classes)
        for entry in sorted(os.scandir(folder / name), key=lambda entry: entry.name)
    ]


def network(channels: int, size: int, classes: int) -> nn.Module:
    """The network `simple`: convolutions and pooling, and two dense layers."""
    layers: list[nn.Module] = []
    for filters in (32, 64, 128) if size >= 32 else (32, 64):
        layers += [nn.Conv2d(channels, filters, 3, padding=1), nn.ReLU(True), nn.MaxPool2d(2)]
        channels, size = filters, size // 2
    layers += [nn.Flatten(), nn.Linear(channels * size * size, 128), nn.ReLU(True)]
    return nn.Sequential(*layers, nn.Linear(128, classes))


def loader(images: Images, options: argparse.Namespace, *, shuffle: bool) -> DataLoader[Any]:
    return DataLoader(
        images,
        options.batch_size,
        shuffle=shuffle,
        num_workers=options.workers,
        persistent_workers=True,
    )


def train(model: nn.Module, files: Files, options: argparse.Namespace, kept: Path) -> None:
    order = np.random.default_rng(0).permutation(len(files))
    held = round(HELD_OUT * len(files))
    validation = Images([files[k] for k in order[:held]], options, augment=False)
    training = Images([files[k] for k in order[held:]], options, augment=True)
    batches, checks = (
        loader(training, options, shuffle=True),
        loader(validation, options, shuffle=False),
    )
    optimizer = torch.optim.AdamW(model.parameters(), options.lr, weight_decay=0.01, fused=True)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, options.lr, options.epochs * len(batches)
    )
    best = -1.0
    for epoch in range(options.epochs):
        model.train()
        for images, labels in batches:
            loss = cross_entropy(model(images), labels, label_smoothing=0.1)
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            optimizer.step()
            schedule.step()
        found = accuracy(model, checks)
        print(f"epoch {epoch + 1}: validation accuracy {found:.4f}", file=sys.stderr)
        if found > best:
            best = found
            torch.save(model.state_dict(), kept)


@torch.inference_mode()
def accuracy(model: nn.Module, batches: DataLoader[Any]) -> float:
    model.eval()
    right = sum((model(images).argmax(1) == labels).sum().item() for images, labels in batches)
    return right / len(batches.dataset)  # type: ignore[arg-type]


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path, help="folder with train/ and test/")
    parser.add_argument("--epochs", type=int, default=5)
    parser.add_argument("--size", type=int, default=28)
    parser.add_argument("--channels", type=int, choices=(1, 3), default=1)
    parser.add_argument("--batch-size", type=int, default=64)
    parser.add_argument("--lr", type=float, default=0.004)
    parser.add_argument("--workers", type=int, default=2)
    options = parser.parse_args(arguments)
    torch.manual_seed(0)
    files, tests = listed(options.data / "train"), listed(options.data / "test")
    model = network(options.channels, options.size, 1 + max(label for _, label in files))
    model = model.to(memory_format=torch.channels_last)
    with tempfile.TemporaryDirectory() as folder:
        kept = Path(folder) / "best.pt"
        train(model, files, options, kept)
        model.load_state_dict(torch.load(kept, weights_only=True))
    batches = loader(Images(tests, options, augment=False), options, shuffle=False)
    print(json.dumps({"accuracy": accuracy(model, batches)}))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
