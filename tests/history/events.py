"""Checks what subscribers were told.

Sequence numbers have no gaps (but before an overflow, which stands for what is missing); each event
tells of a tuple that matches, and of a change that had begun; a change is told once; events are in
the order in which the changes certainly were; all that certainly changed after the `notify`, and
before a wait for events that found none, was told.
"""

from __future__ import annotations

import math
from collections import defaultdict

from history.lives import ended, seconds
from history.matching import fits


def check_events(lives, steady):
    """Return the violations in the events of all subscriptions."""
    fetches, found = defaultdict(list), []
    for op in lives.ops:
        if op.verb in ("next_events", "cancel_notify"):
            fetches[op.about].append(op)
    for op in lives.ops:
        if op.verb == "notify" and op.outcome == "ok":
            found += _check_subscription(lives, op, fetches[op.key], steady)
    return found


def _changes(life):
    """Yield (kind, span) of all that surely happened to a tuple."""
    yield "write", (life.op.began, life.since)
    for op in life.removals:
        yield ("delete" if op.verb == "cancel" else "take"), (op.began, ended(op))
    if not life.removals and life.maybe is None and not life.claims:
        yield "delete", life.expiry


def _check_subscription(lives, notify, fetches, steady):
    told, lease_end = {}, notify.began + seconds(notify.lease)
    for op in fetches:
        if op.verb == "cancel_notify":
            lease_end = min(lease_end, op.began)
    heard = [op for op in fetches if op.verb == "next_events" and op.outcome == "ok"]
    yield from _check_numbers(notify, heard, lease_end if steady else -math.inf)
    latest = -math.inf, None
    for op in heard:
        ((_, kind, value),) = op.found
        if kind in ("overflow", "close"):
            continue
        life = lives.of(value)
        span = None if life is None else _span_of(life, kind)
        if span is None or span[0] > op.ended:
            yield f"events: {op} tells of what had not happened"
        elif not fits(notify.template, value) or notify.about not in (None, kind):
            yield f"events: {op} was not asked for by {notify}"
        elif (life, kind) in told:
            yield f"events: {op} tells again what {told[life, kind]} told"
        else:
            if span[1] < latest[0]:
                yield f"events: {op} came after {latest[1]}"
            latest = max(latest, (span[0], op), key=lambda each: each[0])
            told[life, kind] = op
    waits = [op.began for op in fetches if op.outcome == "no match"]
    if waits and not any(op.found[0][1] == "overflow" for op in heard):
        yield from _check_untold(lives, notify, told, min(waits[-1], lease_end))


def _check_numbers(notify, heard, lease_end):
    sequence = 0
    for op in heard:
        ((number, kind, _),) = op.found
        if number != sequence + 1 and kind != "overflow":
            yield f"events: {op} came after number {sequence} of {notify}"
        if kind == "close" and op.ended < lease_end:
            yield f"events: {op} although the lease of {notify} had not ended"
        sequence = number


def _check_untold(lives, notify, told, until):
    """What surely changed between the notify and this moment, and was not told."""
    for life in lives.by_value.values():
        if fits(notify.template, life.value):
            for kind, (began, done) in _changes(life):
                asked = notify.about in (None, kind) and (life, kind) not in told
                if asked and notify.ended < began and done < until:
                    yield f"events: {notify} was not told of the {kind} of {life.value!r}"


def _span_of(life, kind):
    """Return when a change happened that an event tells of, or None: it cannot have."""
    if kind == "write":
        return life.op.began, life.since
    removals = [op for op in life.removals if (op.verb == "cancel") is (kind == "delete")]
    if removals:
        return removals[0].began, ended(removals[0])
    if kind == "delete" and life.expiry[0] < math.inf:
        return life.expiry[0], math.inf
    if life.maybe is not None or any(op.outcome == "unknown" for op in life.cancels):
        return life.op.began, math.inf
    return None
