"""Comparing programs: each does the same job in turn, a few rounds, and must give the same answer."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from benchmarks.mapreduce.programs import Program, Run, absence, run
from benchmarks.mapreduce.scale import COMMAND
from benchmarks.measure import against, figure, goal, ratio, show
from benchmarks.peer_programs.program import Order

Row = tuple[str, str, str, str]


@dataclass
class Found:
    """What the rounds found.

    Attributes:
        seconds, start_seconds: By program, one a round. absent: Why a program has none.
        runs: Each program's last run.
    """

    seconds: dict[str, list[float]] = field(default_factory=dict)
    start_seconds: dict[str, list[float]] = field(default_factory=dict)
    absent: dict[str, str] = field(default_factory=dict)
    runs: dict[str, Run] = field(default_factory=dict)

    def both(self, ours: str, peer: str) -> bool:
        """Say whether both have figures."""
        return ours in self.seconds and peer in self.seconds

    def add(self, others: Found) -> None:
        """Add what was found of other programs that did the same job."""
        for mine, theirs in zip(vars(self).values(), vars(others).values(), strict=True):
            mine.update(theirs)


def compare(
    programs: Sequence[Program], order: Order, rounds: int, limit: float, truth: str = ""
) -> Found:
    """Run the programs in turn; who fails, is late or answers wrongly has no figures.

    Args:
        limit: Seconds for one run. truth: The right answer's digest; none: the first program's.
    """
    found = Found()
    for each in range(rounds):
        for program in programs if each % 2 == 0 else programs[::-1]:
            name = program.name
            if name in found.absent:
                continue
            done = Run(absence=absence(program))
            if not done.absence:
                print(f"  {order.job}: {name}, round {each + 1} ...", file=sys.stderr, flush=True)
                done = run(program, order, limit)
            truth = truth or str(done.said.get("digest", ""))
            if not done.absence and done.said.get("digest") != truth:
                done.absence = f"**wrong answer**: {done.said.get('digest')}, not {truth}"
            if done.absence:
                found.absent[name] = done.absence
                found.seconds.pop(name, None)
                continue
            found.runs[name] = done
            found.seconds.setdefault(name, []).append(done.said["seconds"])
            found.start_seconds.setdefault(name, []).append(done.said["start_seconds"])
    return found


def rows(
    found: Found, programs: Iterable[Program], ours: str,
    goals: Sequence[tuple[str, float]] = (),
) -> list[Row]:  # fmt: skip
    """Return a row for each program, ours with its ratio to every peer.

    Args:
        goals: (peer, limit): ours is to take so many times the peer's seconds at most.
    """
    table: list[Row] = []
    for program in programs:
        name = program.name
        if name in found.absent:
            table.append((name, found.absent[name], "", ""))
        elif name == ours:
            mine = found.seconds[name]
            peers = [each for each in found.seconds if each != name]
            ratios = ", ".join(against(mine, found.seconds[peer], peer) for peer in peers)
            met = [
                goal(ratio(mine, found.seconds[peer]), "<=", limit, f"x {peer}")
                for peer, limit in goals
                if peer in found.seconds
            ]
            table.append((name, figure(mine, "s"), ratios, "; ".join(met)))
        else:
            started = found.start_seconds[name]
            start = f", after {figure(started, 's')} of start" if max(started) > 0.1 else ""
            table.append((name, figure(found.seconds[name], "s") + start, "", ""))
    return table


def show_memory(title: str, found: Found, programs: Iterable[Program]) -> None:
    """Print what each program's processes have had at most in its last run.

    Memory that they share is left out: Ray's store of objects, most of all.
    """
    table = []
    for program in programs:
        done = found.runs.get(program.name)
        if done is None:
            continue
        if not done.total:
            table.append((program.name, "not measured here", ""))
            continue
        peaks = sorted(done.peaks.items(), key=lambda peak: -peak[1])
        each = ", ".join(f"{name} {used / 1e6:,.0f} MB" for name, used in peaks)
        table.append((program.name, f"{done.total / 1e6:,.0f} MB", each))
    what = "the most private memory of all its processes at once, and of the largest of each kind"
    show(f"{title}: {what}", COMMAND, table, 1)
