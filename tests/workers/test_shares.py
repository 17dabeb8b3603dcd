"""Whose turn it is, as lists: jobs share an agent by priority, however long their tasks take."""

from __future__ import annotations

from collections import Counter

import pytest

from workers.shares import EMPTY_SECONDS, GUESS_SECONDS, Shares


class Play:
    """One worker that always takes a turn of the first job that has one; jobs never run dry.

    Args:
        seconds: How long the tasks of each job take; known once one was run.
    """

    def __init__(self, **seconds: float) -> None:
        self.seconds, self.known = seconds, dict[str, float]()
        self.shares = Shares(self.known.get)
        self.now = 0.0
        self.spent: Counter[str] = Counter()  # type: ignore[assignment]
        self.order: list[str] = []

    def set_jobs(self, **priorities: float) -> None:
        self.shares.set_jobs(priorities)

    def run(self, seconds: float) -> dict[str, float]:
        """Run for so long, at most 0.05 s or a task a turn; return what time each job got."""
        before, until = self.spent.copy(), self.now + seconds
        while self.now < until:
            job = self.shares.turns(self.now)[0]
            tasks = max(1, int(0.05 / self.known.get(job, 1.0)))
            self.shares.gave(job, tasks)
            self.order.append(job)
            self.known[job] = self.seconds[job]
            self.now += tasks * self.seconds[job]
            self.spent[job] += tasks * self.seconds[job]  # type: ignore[assignment]
        return {job: self.spent[job] - before[job] for job in self.spent}


@pytest.mark.parametrize("short", [0.0005, 0.01, 0.5])
@pytest.mark.parametrize("long", [0.5, 3.0])
@pytest.mark.parametrize("priority", [1.0, 3.0, 0.25])
def test_time_is_shared_by_priority_however_long_the_tasks_are(
    short: float, long: float, priority: float
) -> None:
    play = Play(a=short, b=long)
    play.set_jobs(a=priority, b=1)

    spent = play.run(120.0)

    assert spent["a"] / spent["b"] == pytest.approx(priority, rel=0.12)


def test_nobody_starves_whatever_the_priorities() -> None:
    play = Play(a=0.01, b=0.01)
    play.set_jobs(a=100, b=1)
    play.run(100.0)
    assert "b" in play.order[:3]
    assert play.spent["b"] == pytest.approx(1.0, rel=0.2)


def test_equal_jobs_alternate() -> None:
    play = Play(a=1.0, b=1.0, c=1.0)
    play.set_jobs(a=1, b=1, c=1)
    play.run(30.0)
    assert all(set(play.order[at : at + 3]) == {"a", "b", "c"} for at in range(6, 27, 3))


def test_a_new_job_gets_its_share_from_now_on_and_no_more() -> None:
    play = Play(a=0.01, b=0.01)
    play.set_jobs(a=1)
    play.run(60.0)
    play.set_jobs(a=1, b=1)

    spent = play.run(1.0)

    assert spent["b"] == pytest.approx(0.5, rel=0.3)
    assert play.run(10.0)["b"] == pytest.approx(5.0, rel=0.1)


def test_a_job_that_had_no_tasks_saves_nothing_up() -> None:
    play = Play(a=0.01, b=0.01)
    play.set_jobs(a=1, b=1)
    play.run(2.0)
    play.shares.had_none("b", play.now)
    for _ in range(6000):
        play.shares.gave("a", 1)
    play.now += 60

    assert play.run(1.0)["b"] == pytest.approx(0.5, rel=0.2)


def test_a_job_without_tasks_is_not_asked_again_at_once_unless_somebody_saw_one() -> None:
    shares = Shares({}.get)
    shares.set_jobs({"a": 1, "b": 1})
    shares.had_none("a", 10.0)
    assert shares.turns(10.0) == ["b"]
    assert shares.turns(10.0 + EMPTY_SECONDS) == ["a", "b"]
    shares.had_none("a", 10.0)
    shares.gave("a", 1)
    assert sorted(shares.turns(10.0)) == ["a", "b"]


def test_what_was_guessed_is_put_right_once_it_is_known() -> None:
    known: dict[str, float] = {"a": 1.0}
    shares = Shares(known.get)
    shares.set_jobs({"a": 1, "b": 1})
    shares.gave("a", 1)
    shares.gave("b", 2)  # guessed
    assert 2 * GUESS_SECONDS < 1
    assert shares.turns(0.0) == ["b", "a"]
    known["b"] = 1.0
    assert shares.turns(0.0) == ["a", "b"]


def test_a_job_that_is_gone_is_nobodys_turn() -> None:
    shares = Shares({}.get)
    shares.set_jobs({"a": 1, "b": 1})
    shares.set_jobs({"b": 1})
    shares.gave("a", 1)
    assert shares.turns(0.0) == ["b"]
