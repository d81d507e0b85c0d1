"""Runs after all other tests of kernels: they have launched every instance that exists."""

from __future__ import annotations

from pathlib import Path

import pytest
from emulation import EmulatedLauncher

from cpcnn.devices.cuda.kernel import Kernel

HERE = Path(__file__).resolve().parent


@pytest.mark.usefixtures("emulator")
def test_every_instance_was_launched(pytestconfig: pytest.Config) -> None:
    names = ("keyword", "ignore", "deselect", "lf")
    narrowed = any(pytestconfig.getoption(name, default=None) for name in names)
    folders = [Path(argument).resolve() for argument in pytestconfig.args]
    everything = any(folder == HERE or folder in HERE.parents for folder in folders)
    if narrowed or not everything:
        pytest.skip("only some tests of kernels were chosen")
    launched = EmulatedLauncher.launched_by_all
    known = [(kernel, instance) for kernel in Kernel.known for instance in kernel.instances]
    missing = [k.expression(instance) for k, instance in known if not launched[k.name, instance]]
    assert known
    assert not missing
