"""From a `.cu` file to a shared library that runs its kernels on the host, built once and kept."""

from __future__ import annotations

import ctypes
import hashlib
import os
import platform
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from functools import cache
from pathlib import Path

from cpcnn.devices.cuda import kernel as kernels
from cpcnn.devices.cuda.kernel import Instance, Kernel

INCLUDE = Path(__file__).with_name("include")
CACHE = Path(__file__).resolve().parents[3] / "build" / "emulator"
SANITIZER_VARIABLE = "CPCNN_EMULATOR_SANITIZER"  # of the environment: "address" or "undefined"
SIGNATURE_BYTES = 4096
KEPT = 4  # libraries of one file and sanitizer that stay in the cache, newest first

FLAGS = (
    *("-std=c++17", "-O1", "-fPIC", "-shared", "-g1"),
    *("-fno-strict-aliasing", "-ffp-contract=off", "-fno-exceptions"),
    # kernels of one name in two libraries are two kernels, with shared arrays of their own
    *("-fvisibility=hidden", "-fno-gnu-unique"),
    "-U_FORTIFY_SOURCE",  # takes a jump from one stack to another for an attack
    *("-Wall", "-Wextra", "-Werror", "-Wno-unknown-pragmas", "-Wno-unused-function"),
)
SANITIZERS = {
    "address": ("-fsanitize=address", "-fno-omit-frame-pointer"),
    "undefined": ("-fsanitize=undefined", "-fno-sanitize-recover=all"),
}

_libraries: dict[tuple[Path, str, str | None], Library] = {}


class EmulatorUnavailable(RuntimeError):
    """This machine cannot build or run the emulator."""


class EmulatorBuildError(RuntimeError):
    """A kernel does not compile for the host."""


@cache
def compiler() -> str:
    """Return the C++ compiler's path; EmulatorUnavailable where the emulator cannot work."""
    if sys.platform != "linux" or platform.machine() != "x86_64":
        raise EmulatorUnavailable(
            f"The kernel emulator runs on x86-64 Linux, not on {sys.platform} {platform.machine()}."
        )
    found = shutil.which(os.environ.get("CXX", "g++"))
    if found is None:
        raise EmulatorUnavailable(
            "The kernel emulator needs g++ 9 or newer, and there is none. Install it "
            "(Debian, Ubuntu: apt-get install g++), or name it: CXX=/path/to/g++."
        )
    return found


class Library:
    """A file's kernels, built for the host; `places` numbers its instances, `launch` runs one."""

    def __init__(self, file: str, sanitizer: str | None) -> None:
        self.places = {text: place for place, text in enumerate(instances(file))}
        # unlike CDLL, PyDLL lets no other thread in, and a library runs one launch at a time
        functions = ctypes.PyDLL(str(build(file, sanitizer)))
        self.launch = functions.emulated_launch
        self.launch.restype = ctypes.c_char_p
        self._signature = functions.emulated_signature

    @cache  # noqa: B019  libraries live as long as the program
    def signature(self, expression: str) -> tuple[str, ...]:
        """Return the types of an instance's parameters as the compiler names them."""
        text = ctypes.create_string_buffer(SIGNATURE_BYTES)
        self._signature(self.places[expression], text, SIGNATURE_BYTES)
        return tuple(text.value.decode().split(";")[:-1])


def library(kernel: Kernel, instance: Instance, sanitizer: str | None) -> Library:
    """Return the library that has an instance, built unless this process or the cache has it.

    EmulatorBuildError with the compiler's messages when it does not compile.
    """
    key = (kernels.FOLDER, kernel.file, sanitizer)
    # a kernel may have become known after the file was built
    if key not in _libraries or kernel.expression(instance) not in _libraries[key].places:
        _libraries[key] = Library(kernel.file, sanitizer)
    return _libraries[key]


def default_sanitizer() -> str | None:
    """Return the sanitizer that the environment asks for."""
    return os.environ.get(SANITIZER_VARIABLE) or None


def instances(file: str) -> list[str]:
    """Return all known instances of a file's kernels as C++ names them."""
    found = [kernel for kernel in Kernel.known if kernel.file == file]
    names = [kernel.expression(instance) for kernel in found for instance in kernel.instances]
    return list(dict.fromkeys(names))


def has_barriers(source: str) -> bool:
    """Whether a source's threads wait for each other, so that they need stacks of their own."""
    return re.search(r"__sync|_sync\(", source) is not None


def build(file: str, sanitizer: str | None) -> Path:
    """Return the path of a file's library; several processes may build it at the same time."""
    source = program(file)
    flags = (*FLAGS, *(SANITIZERS[sanitizer] if sanitizer else ()))
    target = CACHE / f"{Path(file).stem}-{sanitizer or 'plain'}-{_digest(source, flags)}.so"
    if target.exists():
        return target
    CACHE.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=CACHE) as folder:
        text, made = Path(folder, f"{Path(file).stem}.cpp"), Path(folder, target.name)
        text.write_text(source, "utf-8")
        command = [compiler(), *flags, f"-I{INCLUDE}", str(text), "-o", str(made)]
        result = subprocess.run(command, capture_output=True, text=True)
        if result.returncode:
            raise EmulatorBuildError(f"{file} does not compile for the host:\n{result.stderr}")
        made.rename(target)
    _drop_old(target)
    return target


def program(file: str) -> str:
    """Return the C++ program of a file: its expanded source, and the table of its instances."""
    rows = "".join(f"    EMULATION_INSTANCE({name}),\n" for name in instances(file))
    barriers = str(has_barriers(kernels.read_source(file))).lower()
    return f"""#include "device_functions.h"
#include "entry.h"
{"".join(numbered(file))}
#line 1 "instances of {file}"
static const emulation::Instance instances[] = {{
{rows}}};
extern "C" __attribute__((visibility("default"))) void emulated_signature(
    int instance, char* text, size_t size) {{
    instances[instance].describe(text, size);
}}
extern "C" __attribute__((visibility("default"))) const char* emulated_launch(
    int instance, const unsigned* grid, const unsigned* block, void** arguments, unsigned seed) {{
    return emulation::launch(instances[instance].call, {barriers}, grid, block, arguments, seed);
}}
"""


def numbered(file: str) -> Iterator[str]:
    """Yield the lines of `read_source(file)`, with directives that say where each is from."""
    seen: set[str] = set()

    def expand(name: str) -> Iterator[str]:
        if name in seen:
            return
        seen.add(name)
        yield f'#line 1 "{name}"\n'
        for number, line in enumerate((kernels.FOLDER / name).read_text("utf-8").split("\n"), 1):
            if include := re.fullmatch(r'#include "([^"]+)"', line):
                yield from expand(include[1])
                yield f'#line {number + 1} "{name}"\n'
            else:
                yield f"{line}\n"

    return expand(file)


def _digest(source: str, flags: tuple[str, ...]) -> str:
    digest = hashlib.sha256(f"{_compiler_version()}{flags}{source}".encode())
    for header in sorted(INCLUDE.iterdir()):
        digest.update(header.read_bytes())
    return digest.hexdigest()[:16]


@cache
def _compiler_version() -> str:
    return subprocess.run([compiler(), "--version"], capture_output=True, text=True).stdout


def _drop_old(target: Path) -> None:
    """Remove all but the newest libraries of the same file and sanitizer."""
    name = target.name.rpartition("-")[0]
    found = [path for path in CACHE.glob(f"{name}-*.so") if path.name.rpartition("-")[0] == name]
    for path in sorted(found, key=_age)[KEPT:]:
        path.unlink(missing_ok=True)


def _age(path: Path) -> float:
    try:
        return -path.stat().st_mtime
    except FileNotFoundError:  # another process removed it
        return 0.0
