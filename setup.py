"""Computes what pyproject.toml cannot say: every package under cpcnn/, and cli/ as cpcnn_cli."""

from setuptools import find_packages, setup

setup(
    packages=[
        *find_packages(include=["cpcnn", "cpcnn.*"]),
        "cpcnn_cli",
        *(f"cpcnn_cli.{name}" for name in find_packages("cli")),
    ]
)
