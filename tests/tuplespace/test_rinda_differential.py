"""Our space against Ruby's Rinda: the same scripts, and no difference that is not documented."""

from __future__ import annotations

import contextlib
import random
import re
import sys
from pathlib import Path

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from tuplespace import TupleSpace, connect

sys.path.append(str(Path(__file__).parent))

import rinda_script
from rinda_play import Play, UndocumentedError, minimised
from rinda_script import ALL_MATCHES, DEMONSTRATIONS, DEVIATIONS, random_script
from rinda_sides import RUBY, Rinda

ROOT = Path(__file__).resolve().parents[2]
DOC = (ROOT / "docs" / "rinda.md").read_text(encoding="utf-8")


@pytest.fixture(scope="module", params=[False, True], ids=["here", "drb"])
def rinda(request):
    """Rinda in one process with its user; then behind DRb and a TupleSpaceProxy."""
    if RUBY is None:
        pytest.skip("Ruby is not installed: apt install ruby")
    rinda = Rinda(drb=request.param)
    yield rinda
    rinda.close()


here_only = pytest.mark.parametrize("rinda", [False], ids=["here"], indirect=True, scope="module")


@pytest.fixture
def play(rinda, parked, request):
    """Play a script against an empty space like Rinda's: both here, or both behind a wire."""

    def play(script, symbols=False, wrong=lambda space: space):
        with contextlib.ExitStack() as stack:
            if rinda.drb:
                server = request.getfixturevalue("start_server")()
                stack.callback(server.stop)
                space = stack.enter_context(connect(server.uri))
            else:
                space = stack.enter_context(TupleSpace())
            playing = Play(wrong(space), rinda, parked, symbols)
            playing.run(script)
            assert space.status()["tuples"] == space.status()["waiters"] == 0
            return playing

    return play


def hold(play, script, symbols, **options):
    """Play it; if it shows an undocumented difference, fail with a short script that shows it."""

    def error_of(shorter):
        try:
            play(shorter, symbols, **options)
        except AssertionError as error:
            return error
        return None

    try:
        return play(script, symbols, **options)
    except AssertionError as error:
        first = error
    script = minimised(script, lambda shorter: error_of(shorter) is not None)
    lines = "".join(f"    {operation!r},\n" for operation in script)
    raise UndocumentedError(f"{error_of(script) or first}\nshown by, {symbols=}:\n[\n{lines}]")


def report(name, played):
    print(f"{name}: {played.agreed} tuples alike; met {dict(played.met.most_common())}")


@pytest.mark.parametrize("symbols", [False, True], ids=["strings", "symbols"])
@pytest.mark.parametrize("seed", range(2))
def test_a_random_script_shows_documented_deviations_only(play, seed, symbols):
    played = hold(play, random_script(random.Random(seed), 200), symbols)
    report(f"seed {seed}", played)
    assert played.agreed > 100, "the script compared next to nothing"


@settings(
    max_examples=15, deadline=None, derandomize=True, phases=[Phase.generate],
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)  # fmt: skip
@given(st.randoms(use_true_random=False), st.integers(5, 40), st.booleans())
def test_a_short_script_shows_documented_deviations_only(play, rng, length, symbols):
    hold(play, random_script(rng, length), symbols)


@pytest.mark.faults
@pytest.mark.parametrize("seed", range(100, 110))
def test_a_long_random_script_shows_documented_deviations_only(play, seed):
    report(f"seed {seed}", hold(play, random_script(random.Random(seed), 1000), seed % 2 == 0))


def test_every_field_against_every_template_shows_documented_deviations_only(play):
    played = hold(play, ALL_MATCHES, False)
    report("all matches", played)
    assert played.agreed > 200


@here_only
@pytest.mark.parametrize("name", DEVIATIONS)
def test_each_deviation_is_still_one(play, name):
    tries = 20 if name == "waiters_in_order" else 1  # where Rinda's order is a race
    playing = (play(DEMONSTRATIONS[name], name == "first_in_first_out") for _ in range(tries))
    met = next((each.met for each in playing if each.met), {})
    assert met.keys() == {name}


def test_behind_drb_rinda_makes_copies_too(play, rinda):
    assert bool(play(DEMONSTRATIONS["copies"]).met) is not rinda.drb


class Wrong:
    """A space with one verb that is wrong."""

    def __init__(self, space, verb, call):
        self._space, self._verb, self._call = space, verb, call

    def __getattr__(self, name):
        if name != self._verb:
            return getattr(self._space, name)
        return lambda *arguments: self._call(self._space, *arguments)


def _only_first_field(space, template, timeout=None):
    if type(template) is tuple:
        template = (template[0], *((None,) * (len(template) - 1)))
    return space.take(template, timeout)


def _newest(space, template, timeout=None):
    found = space.read_all(template)
    return space.take(found[-1], timeout) if found else space.take(template, timeout)


MISTAKES = {
    "take ignores all fields but the first": ("take", _only_first_field),
    "take finds the newest": ("take", _newest),
    "take leaves the tuple": ("take", lambda space, *args: space.read(*args)),
    "read takes the tuple": ("read", lambda space, *args: space.take(*args)),
    "read_all finds two": ("read_all", lambda space, template: space.read_all(template)[:2]),
    "write forgets the lease": ("write", lambda space, value, *lease: space.write(value)),
    "notify hears writes only": ("notify", lambda space, event, *a: space.notify("write", *a)),
}


@here_only
@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_wrong_space_is_found_out_by_a_short_script(play, mistake):
    verb, call = MISTAKES[mistake]
    script = random_script(random.Random(1), 200)
    script = [operation for operation in script if operation[0] != "brief"]  # waits to find out
    with pytest.raises(UndocumentedError, match="shown by") as caught:
        hold(play, script, False, wrong=lambda space: Wrong(space, verb, call))
    print(caught.value)
    assert str(caught.value).count("\n    ") <= 5, "the script was not made short"


@here_only
def test_a_deviation_that_is_not_named_is_found_out(play, monkeypatch):
    monkeypatch.setitem(rinda_script._EYES, "bytes_are_no_str", lambda *pair: pair)
    with pytest.raises(UndocumentedError, match=r"whether .* matches"):
        hold(play, ALL_MATCHES, False)


# -- what is written about it; needs no Ruby


def test_the_page_names_the_deviations_of_the_code_and_no_others():
    assert re.findall(r"^### `(\w+)`", DOC, re.M) == list(DEVIATIONS)
    assert DEMONSTRATIONS.keys() == DEVIATIONS.keys()
