"""What tests of kernels share: the emulated device, and a loud word where it cannot run."""

from __future__ import annotations

import pytest
from compile_gate.programs import counts
from emulation import EmulatedCudaDevice, EmulatedLauncher, EmulatorUnavailable

from cpcnn.core.context import Context
from cpcnn.devices.cuda.kernel import Kernel

SHUFFLED = 2  # the order of threads that most mistakes depend on
MORE_ORDERS = (0, 1, 3)  # as they are numbered, in reverse, and otherwise shuffled
_unavailable: list[str] = []


@pytest.fixture(scope="session")
def emulator() -> None:
    """Skip what cannot run here."""
    try:
        EmulatedLauncher()
    except EmulatorUnavailable as reason:
        _unavailable.append(str(reason))
        pytest.skip(str(reason))


@pytest.fixture(
    scope="session",
    params=[SHUFFLED, *(pytest.param(seed, marks=pytest.mark.long) for seed in MORE_ORDERS)],
    ids=lambda seed: f"order{seed}",
)
def launcher(emulator: None, request: pytest.FixtureRequest) -> EmulatedLauncher:
    """A launcher for each order in which threads may run."""
    return EmulatedLauncher(seed=request.param)


@pytest.fixture(scope="session")
def device(launcher: EmulatedLauncher) -> EmulatedCudaDevice:
    """The device `cuda-emulated`."""
    return EmulatedCudaDevice(launcher)


@pytest.fixture(scope="session")
def ctx(device: EmulatedCudaDevice) -> Context:
    """A context of training on the emulated device."""
    return Context(device, training=True, grad=True)


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    items.sort(key=lambda item: item.path.name == "test_launched.py")  # counts what others did


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    if _unavailable:
        terminalreporter.section("kernels were NOT tested", sep="!", red=True)
        terminalreporter.line(_unavailable[0])
    for line in counts():
        terminalreporter.line(line)
    launched = EmulatedLauncher.launched_by_all
    known = {(kernel.name, each) for kernel in Kernel.known for each in kernel.instances}
    if found := known & launched.keys():
        kernels, of_kernels = ({name for name, _ in names} for names in (found, known))
        terminalreporter.line(
            f"emulated: {len(kernels)} of {len(of_kernels)} kernels, {len(found)} of {len(known)} "
            f"instances, {sum(launched[each] for each in found)} launches"
        )
