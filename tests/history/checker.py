"""Says what a history proves that a correct space could not have done.

`check` returns violations, each a sentence that names ops; none: the history is one that a correct
space may have given. It raises no false alarm: whatever lies within the span between an op's begin
and end gets the benefit of the doubt. What it checks, of tuples that are all different:

- *nothing lost*: a tuple whose write was acknowledged, or that was seen, is taken, confirmed,
  cancelled or expired, or an op of unknown outcome may have taken it (each such op excuses one);
- *nothing twice*: it is removed once, and no two claims of it hold at the same time;
- *no phantom*: what is found was written, by an op that had begun and was not refused, and is not
  found after it was certainly taken, expired, or claimed;
- *templates*: what is found matches, by the matching of `matching`, not the product's;
- *order*: no tuple is passed over that was certainly there, and certainly older (FIFO per
  template, released tuples at their old place), and answers of many tuples are in order;
- *no missed match*: no search, count or read_all misses what was certainly there throughout (or,
  if connections were steady, while it certainly waited); a swap's two tuples count as one that is
  always there; batches are written whole, so whoever got one tuple of a batch with a wider search
  gets the rest; no count exceeds what may have been there; no search finds more than its limit;
- *claims*: confirm, renew and release succeed only while the claim may hold, and are refused only
  if it may have ended; a claim is confirmed once; handles likewise;
- *leases*: no tuple is found after its lease has certainly ended, nor missing before;
- *events*: see `events`;
- *liveness*: nobody waits for longer than `bound` seconds while a match is certainly there, none
  gives up before its timeout, nor later than `bound` after it.

What it cannot see: anything that happens within the spans of overlapping ops; in which order parked
calls are served (nobody records when a call was parked); the order of two tuples in one batch, if
they are found by two ops that overlap the write; that a tuple was claimed, if nobody was told.
For these the state machine of `test_machine` drives one call after the other.

Cost: O(n log n) for n ops and tuples, times the templates that one tuple matches; plus n for each
op of unknown outcome and each subscription.
"""

from __future__ import annotations

import math
from collections import defaultdict

from history.events import check_events
from history.lives import SEARCHES, TAKES, Lives, ended, seconds
from history.matching import Groups, fits, frozen
from history.timeline import Covering, covering, touching

_FINDS_MANY = frozenset({"take_many", "claim_many", "read_all"})
_WAITS = frozenset({"take", "take_many", "claim", "claim_many", "read"})
#: What clocks and timeouts may differ by.
_EPSILON = 0.002


def check(history, *, steady=True, bound=5.0):
    """Return the violations in a finished history.

    Args:
        history: A `recorder.History`. steady: No connection of a living client broke.
        bound: Seconds of liveness.
    """
    assert history.end is not None
    lives = Lives(history, steady=steady, bound=bound)
    found = [f"phantom: nobody wrote {value!r}: {op}" for op, value in lives.phantoms]
    for number, (op, value) in enumerate(lives.phantoms):
        if (refused := lives.refused.get(frozen(value))) is not None:
            found[number] = f"phantom: {refused} was not applied, but {value!r} was found by {op}"
    for life in lives.by_value.values():
        found += _check_life(life)
        found += _check_handles(life)
        if history.drained is not None and _covers(life.certain, history.drained, history.end):
            found.append(f"lost: {life.value!r}, written by {life.op}, is nowhere")
            life.certain = []
    for hold in lives.holds.values():
        found += _check_hold(hold, steady)
    groups = _groups(lives)
    for op in lives.ops:
        if op.outcome == "ok" and op.template is not None and op.verb not in ("count", "notify"):
            found += _check_answer(op, lives)
        found += _check_wait(op, bound)
    for group in groups:
        found += group.check(lives, history.end, steady, bound)
    return found + check_events(lives, steady)


def _covers(spans, began, until):
    return any(lo <= began and until <= hi for lo, hi in spans)


def _check_life(life):
    """What was told of one tuple."""
    if len(life.removals) > 1:
        yield f"twice: {life.value!r} was removed by each of {life.removals}"
    for (_, until), (start, other) in zip(life.held, life.held[1:], strict=False):
        if start < until:
            yield f"twice: {life.value!r} was claimed twice at ({start:.6f}, {other:.6f})"
    finders = [*life.sightings, *(hold.op for hold in life.claims)]
    for op in (*finders, *(op for op in life.removals if op.verb in TAKES)):
        if op.ended < life.op.began or op is life.op:
            yield f"phantom: {op} found what was written later, by {life.op}"
        if life.expiry[1] < op.began:
            yield f"lease: {op} found {life.value!r}, which had expired by {life.expiry[1]:.6f}"
        if life.held_during(op.began, op.ended):
            yield f"claimed: {op} found {life.value!r} although it was claimed: {life.claims[0].op}"
    for op in finders:
        if op.began > life.gone[1] and len(life.removals) <= 1:
            yield f"gone: {op} found {life.value!r} after {life.removals[0]}"


def _check_handles(life):
    """Renew and cancel of one tuple."""
    sure = life.since, min(life.gone[0], life.expiry[0])
    for op in (*life.cancels, *life.renewals):
        refused = op.outcome == "refused" or (op.verb == "cancel" and op.found is False)
        others = [each for each in life.removals if each is not op]
        if refused and sure[0] <= op.began and op.ended <= sure[1] and life.maybe is None:
            yield f"handle: {op} was refused although {life.value!r} was there"
        if op.outcome == "ok" and not refused and any(ended(each) < op.began for each in others):
            yield f"handle: {op} succeeded after {others[0]}"


def _check_hold(hold, steady):
    """Confirm, renew and release of one claim."""
    over = [op for op in hold.ends if op.outcome == "ok" and op.verb in ("confirm", "release")]
    if len(over) > 1:
        yield f"claim: {hold.op} was ended by each of {over}"
    for op in hold.ends:
        if op.outcome == "ok" and op.began > hold.over[1]:
            yield f"claim: {op} succeeded although {hold.op} had ended by {hold.over[1]:.6f}"
        if op.outcome == "ok" and op.began > hold.lease_span(but=op)[1]:
            yield f"claim: {op} succeeded although the lease of {hold.op} had ended"
        if op.outcome == "refused" and op.ended < hold.over[0]:
            yield f"claim: {op} was refused although {hold.op} was held"


def _check_answer(op, lives):
    """One search by itself: template, limit, order of what it found."""
    if op.limit is not None and len(op.found) > op.limit:
        yield f"limit: {op} found {len(op.found)}"
    known = [life for value in op.found if (life := lives.of(value)) is not None]
    if len(set(known)) < len(known):
        yield f"twice: {op} found a tuple twice"
    youngest = -math.inf, None
    for value in op.found:
        if not fits(op.template, value):
            yield f"template: {op} found {value!r}, which does not match"
        life = lives.of(value)
        if life is not None:
            other = youngest[1]
            if life.since < youngest[0] or (
                other is not None and other.op is life.op and other.position > life.position
            ):
                yield f"order: {op} found {value!r} after the younger {other.value!r}"
            if life.op.began > youngest[0] or (other is not None and other.op is life.op):
                youngest = life.op.began, life


def _check_wait(op, bound):
    """Whether a wait kept its timeout."""
    if op.verb in _WAITS and op.outcome == "no match" and op.timeout is not None:
        waited = op.ended - op.began
        if waited < op.timeout - _EPSILON:
            yield f"timeout: {op} gave up after {waited:.3f} s instead of {op.timeout} s"
        elif waited > op.timeout + bound:
            yield f"liveness: {op} gave up after {waited:.3f} s instead of {op.timeout} s"


def _groups(lives):
    """Bring together the ops with equal templates, and the tuples that match these."""
    finder, groups = Groups(), []
    for op in lives.ops:
        if op.verb in SEARCHES or op.verb in ("read", "read_all", "count"):
            group = finder.add(op.template, fresh := Group())
            if group is fresh:
                groups.append(group)
            group.ops.append(op)
    for life in lives.by_value.values():
        for group in finder.of(life.value):
            group.lives.append(life)
    return groups


class Group:
    """The ops with one template, and all tuples that match it."""

    def __init__(self):
        self.ops, self.lives = [], []

    def check(self, lives, end, steady, bound):
        """Yield what these ops show to be wrong."""
        spans = [(span, life) for life in self.lives for span in life.certain]
        there = Covering(self._joined(lives))
        long = Covering([each for each in spans if each[0][1] - each[0][0] > bound])
        yield from self._missed(there, lives, steady)
        yield from self._waited(long, lives, end, bound)
        yield from self._passed_over(spans, lives)
        yield from self._counted(lives)
        yield from self._batches(lives)

    def _joined(self, lives):
        """Return the certain spans, a swap's two joined: one of its tuples is always there."""
        inside, after = set(self.lives), {}
        for life in self.lives:
            if life.op.verb == "swap" and life.op.outcome == "ok" and life.op.found:
                old = lives.of(life.op.found[0])
                if old in inside and old is not life:
                    after[old] = life
        later, found = set(after.values()), []
        for life in self.lives:
            spans = [] if life in later else list(life.certain)
            last = None if life in later else life
            while last in after:
                last = after[last]
                more = list(last.certain)
                if spans and more and (spans[-1][1], more[0][0]) == (last.op.began, last.since):
                    spans[-1] = spans[-1][0], more.pop(0)[1]
                spans += more
            found += [(span, life) for span in spans]
        return found

    def _missed(self, there, lives, steady):
        for op in self.ops:
            if op.outcome == "no match":
                patience = max(seconds(op.timeout), 0) if steady and op.timeout else 0.0
                life = there.find(op.began + patience, op.ended - patience)
                if life is not None:
                    yield f"missed: {op} although {life.value!r} was there, written by {life.op}"

    def _waited(self, long, lives, end, bound):
        for op in self.ops:
            if op.verb not in _WAITS or op.outcome == "no match":
                continue
            until = min(ended(op), lives.deaths.get(op.session, end))
            life = long.find(until - bound, op.began + bound) if until - op.began > bound else None
            if life is not None:
                yield f"liveness: {op} waited although {life.value!r} was there, by {life.op}"
            for life in filter(None, map(lives.of, op.found)):
                if not life.claims and until - max(op.began, life.since) > bound:
                    yield f"liveness: {op} got {life.value!r} that late, written by {life.op}"

    def _passed_over(self, spans, lives):
        """The order in which single tuples are found."""
        by_age = sorted({life for _, life in spans}, key=_age)
        rank = {life: number for number, life in enumerate(by_age)}
        questions = [
            ((op.began, op.ended), (op, life))
            for op in self.ops
            if op.outcome == "ok" and op.verb != "count" and len(op.found) == (op.limit or 1)
            if (life := lives.of(op.found[-1])) is not None and op.verb != "read_all"
        ]
        ranked = [(span, rank[life]) for span, life in spans]
        for (op, life), _, least in covering(ranked, questions):
            if least < math.inf:
                older = by_age[least]
                same = older.op is life.op and older.position < life.position
                if older.since < life.op.began or same:
                    yield f"order: {op} passed over {older.value!r}, which is older"

    def _counted(self, lives):
        """Counts, and searches that found fewer than they might have."""
        questions = []
        for op in self.ops:
            few = op.limit is None or len(op.found) < op.limit
            if op.outcome == "ok" and few and (op.verb == "count" or op.verb in _FINDS_MANY):
                questions.append(((op.began, op.ended), op))
        if not questions:
            return
        perhaps = touching([span for life in self.lives for span in life.perhaps])
        plain = [(span, 0) for life in self.lives for span in life.certain]
        joined = [(span, 0) for span, _ in self._joined(lives)]
        for op, least, _ in covering(
            joined, [each for each in questions if each[1].verb == "count"]
        ):
            most = perhaps((op.began, op.ended))
            if not least <= op.found <= most:
                yield f"count: {op}, but there were {least} at least, {most} at most"
        rest = [each for each in questions if each[1].verb != "count"]
        for op, least, _ in covering(plain, rest):
            sure = 0
            for life in filter(None, map(lives.of, op.found)):
                sure += _covers(life.certain, op.began, op.ended)
            if sure < least:
                yield f"missed: {op} found {sure} of the {least} that were there for certain"

    def _batches(self, lives):
        """Who found one tuple of a batch, and had room for more, finds the rest of it."""
        batches = defaultdict(list)
        for life in self.lives:
            if len(life.op.written) > 1:
                batches[life.op].append(life)
        for batch in batches.values():
            batch.sort(key=lambda life: -life.vanishes)
        for op in self.ops:
            if op.verb not in _FINDS_MANY or op.outcome != "ok":
                continue
            if op.limit is not None and len(op.found) >= op.limit:
                continue
            mine = set(map(lives.of, op.found)) - {None}
            for batch in {life.op for life in mine}:
                for life in batches.get(batch, ()):
                    if life.vanishes <= op.ended:
                        break
                    if life not in mine:
                        yield f"batch: {op} found others of its batch but not {life.value!r}"
                        break


def _age(life):
    return life.since, life.op.key, life.position
