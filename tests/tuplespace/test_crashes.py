"""A space that dies again and again loses nothing that it said was there, and gives nothing twice.

Simulated: the core is the product's, the disk, the clock and the clients are ours; a seed is a run.
"""

from __future__ import annotations

import pytest

from history.checker import check
from history.crashes import Simulation
from tuplespace.store.interface import CLAIM, EXPIRES, GONE, LISTEN, REPLY, UNCLAIM

STEPS = 200


def problems_of(simulation):
    simulation.run(STEPS)
    return simulation.problems + check(simulation.history, bound=60.0)


def _check_seeds(seeds):
    crashes = answers = 0
    for seed in seeds:
        simulation = Simulation(seed)
        assert problems_of(simulation) == [], f"seed {seed}"
        crashes += simulation.crashes
        answers += len(simulation.history.ops)
    return crashes, answers


def test_a_space_that_dies_again_and_again_is_correct():
    crashes, answers = _check_seeds(range(200))
    assert crashes > 500
    assert answers > 20_000


@pytest.mark.faults
@pytest.mark.timeout(300)
def test_a_space_that_dies_again_and_again_is_correct_for_long():
    _check_seeds(range(1000, 5000))


def _notice(make, seeds=30):
    """Return whether anything is wrong with some of these runs."""
    for seed in range(seeds):
        try:
            if problems_of(make(seed)):
                return True
        except (KeyError, AssertionError):  # the next run stumbles over it
            return True
    return False


def test_answers_that_go_out_too_early_are_noticed():
    assert _notice(lambda seed: Simulation(seed, early=True))


@pytest.mark.parametrize("kind", [GONE, EXPIRES, CLAIM, UNCLAIM, REPLY, LISTEN])
def test_a_change_that_is_not_noted_is_noticed(kind):
    class Forgetful(Simulation):
        def _end_turn(self):
            self.core.advance(self.now)
            self.core.journal = [each for each in self.core.journal if each[0] != kind]
            super()._end_turn()

    assert _notice(Forgetful)


def test_numbers_that_are_given_again_are_noticed():
    class Repeating(Simulation):
        def _start(self):
            super()._start()
            self.store.disk.generation = 0

    assert _notice(Repeating)
