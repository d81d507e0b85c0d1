"""The tests of the kernels notice mistakes: every one of mutants.toml."""

from __future__ import annotations

import pytest
from emulation import EmulatorUnavailable
from emulation.build import compiler
from try_mutants import mutants, survivors

LEAST = 50  # mistakes: fewer would be a list that somebody cut


@pytest.mark.long
def test_planted_mistakes_are_noticed() -> None:
    try:
        compiler()
    except EmulatorUnavailable as reason:
        pytest.skip(str(reason))
    outcome = [(mutant["file"], mutant["what"], alive) for mutant, alive in survivors(())]
    assert len(outcome) == len(mutants(())) >= LEAST
    assert [entry for entry in outcome if entry[2]] == []


def test_every_kernel_source_has_mistakes_planted() -> None:
    """Headers too: what is in them is used by several."""
    from cpcnn.devices.cuda.kernel import FOLDER

    sources = {path.name for path in FOLDER.iterdir() if path.suffix in {".cu", ".cuh"}}
    assert {mutant["file"] for mutant in mutants(())} == sources
