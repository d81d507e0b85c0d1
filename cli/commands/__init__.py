"""The commands: one file each, imported only when it runs; help is shown from this table alone."""

from __future__ import annotations

from importlib import import_module

import click

# Name, module and line of help.
COMMANDS = {
    "train": ("train", "Train a classifier on a folder of images."),
    "eval": ("evaluate", "Per-class report of a trained model (also: val)."),
    "predict": ("predict", "Classify images."),
    "check": ("check", "Find what is wrong with a folder of images."),
    "summary": ("summary", "Layers, parameters and memory of a model."),
    "devices": ("devices", "Show what can compute here, and why not."),
    "demo": ("demo", "Make a small image folder, train on it, evaluate."),
}
ALIASES = {"val": "eval"}


def load(name: str) -> click.Command | None:
    """Import a command by its name or alias; None when there is no such command."""
    name = ALIASES.get(name, name)
    if name not in COMMANDS:
        return None
    command: click.Command = import_module(f".{COMMANDS[name][0]}", __name__).command
    return command
