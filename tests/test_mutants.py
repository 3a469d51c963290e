"""The list of faults keeps up with the library: each can be made, in many modules."""

import pytest

from tests.mutants import ROOT, Mutant, mutants, mutated


def test_there_are_many_all_over_the_library() -> None:
    found = list(mutants())
    assert len(set(found)) == len(found) >= 60
    methods = {path.stem for path in (ROOT / "dlopt").glob("*.py")} - {"__init__", "empirical_risk"}
    assert methods <= {mutant.module.removeprefix("dlopt/").removesuffix(".py") for mutant in found}


@pytest.mark.parametrize("mutant", tuple(mutants()), ids=lambda m: f"{m.module}: {m.old[:30]}")
def test_a_fault_can_be_made(mutant: Mutant) -> None:
    compile(mutated(mutant), mutant.module, "exec")
    assert all((ROOT / test).is_file() for test in mutant.tests)
