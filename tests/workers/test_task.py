"""Tasks and outcomes as tuples: whole and signed, or refused."""

from __future__ import annotations

import random
from typing import Any

import pytest

from tuplespace.errors import AuthenticationError, InvalidTupleError
from tuplespace.security import Key, throwaway_key
from tuplespace.wire import pack
from workers.blocks import Frame, Location
from workers.errors import CUT_OFF
from workers.task import ANYWHERE, DIED, ERROR, LOST, OK, Outcome, Parcel, Task, this_runtime

BLOCK = Parcel(None, Location("h", "/b/f.blocks", "PYRO:blocks@h:1"), (Frame(7, 9, b"d" * 16),))
TASK = Task("j1", "map", 3, this_runtime(), ANYWHERE, 2, Parcel(b"function"), BLOCK, Parcel(b"m"))
OUTCOME = Outcome("j1", "map", 3, 2, OK, "h/17", 17, 0.25, BLOCK, {"maps": (1, 2)})


@pytest.fixture(scope="module")
def key() -> Key:
    return throwaway_key()


@pytest.mark.parametrize("bundle", [None, Parcel(b"m"), BLOCK])
def test_a_task_comes_out_of_its_tuple_as_it_went_in(key: Key, bundle: Parcel | None) -> None:
    task = TASK._replace(bundle=bundle)

    assert Task.from_tuple(task.to_tuple(key), key) == task


def test_a_task_shows_the_space_what_agents_choose_by(key: Key) -> None:
    kind, job, phase, number, runtime, affinity, payload = TASK.to_tuple(key)

    assert (kind, job, phase, number) == ("task", "j1", "map", 3)
    assert (runtime, affinity) == (this_runtime(), ANYWHERE)
    assert isinstance(payload, bytes)


@pytest.mark.parametrize(
    "outcome",
    [
        OUTCOME,
        OUTCOME._replace(value=Parcel(b"")),
        OUTCOME._replace(status=DIED, value=None, details={}),
        OUTCOME._replace(status=ERROR, value=None, details={"message": "\udc80 \0 é"}),
    ],
)
def test_an_outcome_comes_out_of_its_tuple_as_it_went_in(key: Key, outcome: Outcome) -> None:
    assert Outcome.from_tuple(outcome.to_tuple(key), key) == outcome


@pytest.mark.parametrize("field, other", [(1, "j2"), (2, "reduce"), (3, 4)])
def test_a_payload_is_good_for_its_job_phase_and_number_only(
    key: Key, field: int, other: Any
) -> None:
    for value, read in ((TASK.to_tuple(key), Task), (OUTCOME.to_tuple(key), Outcome)):
        moved = (*value[:field], other, *value[field + 1 :])
        with pytest.raises(AuthenticationError):
            read.from_tuple(moved, key)


def test_a_result_cannot_pass_for_a_task_nor_the_other_way_round(key: Key) -> None:
    task, outcome = TASK.to_tuple(key), OUTCOME.to_tuple(key)

    with pytest.raises(AuthenticationError):
        Task.from_tuple((*task[:-1], outcome[-1]), key)
    with pytest.raises(AuthenticationError):
        Outcome.from_tuple((*outcome[:-1], task[-1]), key)


def test_every_flipped_bit_is_noticed(key: Key) -> None:
    for value, read in ((TASK.to_tuple(key), Task), (OUTCOME.to_tuple(key), Outcome)):
        payload = value[-1]
        for position in range(len(payload) * 8):
            flipped = bytearray(payload)
            flipped[position // 8] ^= 1 << position % 8
            with pytest.raises(AuthenticationError):
                read.from_tuple((*value[:-1], bytes(flipped)), key)


def test_another_clusters_key_does_not_open_it(key: Key) -> None:
    for value, read in ((TASK.to_tuple(key), Task), (OUTCOME.to_tuple(key), Outcome)):
        with pytest.raises(AuthenticationError):
            read.from_tuple(value, throwaway_key())


def test_hostile_payloads_are_refused(key: Key) -> None:
    noise = random.Random(5)
    payloads: list[Any] = [b"", b"\0" * 31, b"\0" * 32, None, "text", 7, ()]
    payloads += [noise.randbytes(noise.randrange(200)) for _ in range(200)]
    for payload in payloads:
        with pytest.raises((AuthenticationError, InvalidTupleError)):
            Task.from_tuple(("task", "j", "map", 0, "r", "", payload), key)
        with pytest.raises((AuthenticationError, InvalidTupleError)):
            Outcome.from_tuple(("result", "j", "map", 0, payload), key)


def test_signed_nonsense_is_refused_too(key: Key) -> None:
    for body in (
        b"",
        b"\xc1",
        pack(None),
        pack((1, 2)),
        pack((0, 1, 2, 3)),
        pack((0, 1, 2, 3, 4, 5, 6)),
    ):
        with pytest.raises(InvalidTupleError):
            Task.from_tuple(("task", "j", "map", 0, "r", "", key.seal("task|j|map|0", body)), key)
        with pytest.raises(InvalidTupleError):
            Outcome.from_tuple(("result", "j", "map", 0, key.seal("result|j|map|0", body)), key)


@pytest.mark.parametrize(
    "status, details, is_cut_off",
    [
        (LOST, {CUT_OFF: True}, True),
        (ERROR, {CUT_OFF: True}, False),
        (LOST, {CUT_OFF: "x"}, False),
        (LOST, {}, False),
    ],
)
def test_only_what_is_lost_can_be_cut_off(
    status: str, details: dict[str, Any], is_cut_off: bool
) -> None:
    assert OUTCOME._replace(status=status, details=details).is_cut_off == is_cut_off
