"""Bugs, each a small patch of the product, which the checker must see.

Each names the scenario that shows it and the rule that it breaks (the first word of a violation).
A mutant is a function that gets `wrap`: ``wrap(owner, name)`` decorates the function that takes the
place of ``owner.name`` and gets the original as its first argument.
"""

from __future__ import annotations

import itertools
import threading

from history import scenarios
from tuplespace import errors
from tuplespace.calls import CallDesk
from tuplespace.core import SpaceCore
from tuplespace.entry import check_seconds
from tuplespace.events import Subscription
from tuplespace.index import EntryIndex
from tuplespace.lines import Line
from tuplespace.positions import KeyIndex
from tuplespace.template import Template
from tuplespace.verbs import SpaceVerbs

#: {name: (scenario, rule, mutant)}
MUTANTS = {}


def _seen_in(scenario, rule):
    def register(mutant):
        MUTANTS[mutant.__name__] = scenario, rule, mutant
        return mutant

    return register


def _each(number):
    """Return a function that says True each so many times."""
    turns = itertools.count(1)
    return lambda: next(turns) % number == 0


# -- storing and searching


@_seen_in(scenarios.mixture, "lost")
def each_fiftieth_tuple_is_dropped(wrap):
    due = _each(50)

    @wrap(SpaceCore, "_store")
    def _store(original, core, entries):
        first = original(core, entries)
        for entry in entries:
            if due() and entry.claim is None and entry.id in core._entries:
                core._remove(entry, "lost")
        return first


@_seen_in(scenarios.mixture, "twice")
def some_takes_leave_the_tuple(wrap):
    due = _each(20)

    @wrap(SpaceCore, "_try")
    def _try(original, core, waiter):
        if waiter.verb == "take" and due():
            first = core._index.first(waiter.template)
            return first is not None, first and first.value
        return original(core, waiter)


@_seen_in(scenarios.line, "missed")
def a_read_removes(wrap):
    @wrap(SpaceCore, "_try")
    def _try(original, core, waiter):
        waiter.verb, verb = "take" if waiter.verb == "read" else waiter.verb, waiter.verb
        answer = original(core, waiter)
        waiter.verb = verb
        return answer


@_seen_in(scenarios.line, "limit")
def take_many_exceeds_its_limit(wrap):
    @wrap(EntryIndex, "find")
    def find(original, index, template, limit=None):
        return original(index, template, limit and limit + 1)


@_seen_in(scenarios.line, "order")
def the_youngest_comes_first(wrap):
    @wrap(EntryIndex, "first")
    def first(original, index, template):
        return (index.find(template) or [None])[-1]


@_seen_in(scenarios.line, "template")
def the_second_literal_of_a_template_is_ignored(wrap):
    @wrap(Template, "__init__")
    def __init__(original, template, source):  # noqa: N807
        original(template, source)
        template._equals, template.lookups = template._equals[:1], template.lookups[:1]


@_seen_in(scenarios.line, "twice")
def cancel_says_yes_and_does_nothing(wrap):
    @wrap(SpaceCore, "_cancel_entry")
    def _cancel_entry(original, core, lane, id):
        return id in core._entries


@_seen_in(scenarios.indexes, "missed")
def what_comes_back_is_missing_in_the_index(wrap):
    @wrap(KeyIndex, "put_back")
    def put_back(original, index, entry):
        pass


@_seen_in(scenarios.indexes, "count")
def what_goes_is_still_counted_in_the_index(wrap):
    @wrap(Line, "drop")
    def drop(original, line, entries):
        pass

    @wrap(EntryIndex, "count")
    def count(original, index, template):
        candidates, _ = index._shapes[template.shape].candidates(template)
        return 0 if candidates is None else candidates.live


@_seen_in(scenarios.swaps, "missed")
def a_swap_is_a_take_and_then_a_write(wrap):
    @wrap(SpaceVerbs, "swap")
    def swap(original, space, template, replacement):
        old = space.take(template, 0)
        threading.Event().wait(0.001)
        space.write(replacement)
        return old


@_seen_in(scenarios.swaps, "phantom")
def a_swap_writes_before_it_takes(wrap):
    @wrap(SpaceCore, "_swap")
    def _swap(original, core, lane, template, value, lease=None):
        core._store(core._entries_of([value], check_seconds("lease", lease)))
        entry = core._index.first(template)
        core._remove(entry, "take")
        return entry.value


# -- claims


@_seen_in(scenarios.claims, "claim")
def a_confirm_ignores_its_token(wrap):
    @wrap(SpaceCore, "_confirm_many")
    def _confirm_many(original, core, lane, tokens, writes, lease=None):
        for token, values in zip(tokens, writes, strict=True):
            entry = core._claims.get(token)
            if entry is not None:
                core._remove(entry, "take")
            core._store(core._entries_of(values, check_seconds("lease", lease)))
        return ()


@_seen_in(scenarios.claims, "phantom")
def a_refused_confirm_writes_all_the_same(wrap):
    @wrap(SpaceCore, "_confirm_many")
    def _confirm_many(original, core, lane, tokens, writes, lease=None):
        for token, values in zip(tokens, writes, strict=True):
            if token not in core._claims:
                core._store(core._entries_of(values, check_seconds("lease", lease)))
        return original(core, lane, tokens, writes, lease)


@_seen_in(scenarios.claims, "twice")
def a_confirm_gives_the_tuple_back(wrap):
    @wrap(SpaceCore, "_confirm_many")
    def _confirm_many(original, core, lane, tokens, writes, lease=None):
        entries = [core._claims.get(token) for token in tokens]
        failed = original(core, lane, tokens, writes, lease)
        core._store(core._entries_of([each.value for each in entries if each], float("inf")))
        return failed


@_seen_in(scenarios.claims, "claim")
def a_claim_outlives_its_lease(wrap):
    @wrap(SpaceCore, "_end_claim")
    def _end_claim(original, core, token):
        pass


@_seen_in(scenarios.claims, "claim")
def a_renewal_is_not_heeded(wrap):
    @wrap(SpaceCore, "_renew_writing")
    def _renew_writing(original, core, lane, token, lease, values):
        core._held(lane, token)
        return 0


@_seen_in(scenarios.line, "order")
def what_is_released_goes_to_the_end_of_the_line(wrap):
    @wrap(SpaceCore, "_give_back")
    def _give_back(original, core, entries):
        for entry in entries:
            del core._entries[entry.id]
            entry.id = core.number()
            core._index.add(entry)
        core._offer(entries)


@_seen_in(scenarios.goodbye, "lost")
def a_goodbye_keeps_its_claims(wrap):
    @wrap(SpaceCore, "_session_over")
    def _session_over(original, core, session):
        pass


# -- time


@_seen_in(scenarios.leases, "lease")
def an_expired_tuple_stays(wrap):
    @wrap(SpaceCore, "_end_entry")
    def _end_entry(original, core, id):
        pass


@_seen_in(scenarios.leases, "lost")
def a_lease_ends_early(wrap):
    @wrap(SpaceCore, "_entries_of")
    def _entries_of(original, core, values, lease, *rest):
        return original(core, values, min(lease, 0.09), *rest)


@_seen_in(scenarios.leases, "timeout")
def a_wait_gives_up_early(wrap):
    @wrap(SpaceCore, "_search")
    def _search(original, core, verb, lane, template, timeout=None, *rest):
        return original(core, verb, lane, template, timeout and timeout / 2, *rest)


# -- waiting


@_seen_in(scenarios.waits, "missed")
def a_write_wakes_nobody(wrap):
    @wrap(SpaceCore, "_offer")
    def _offer(original, core, entries):
        pass


@_seen_in(scenarios.waits, "missed")
def a_release_wakes_nobody(wrap):
    @wrap(SpaceCore, "_give_back")
    def _give_back(original, core, entries):
        for entry in entries:
            core._index.show(entry)


@_seen_in(scenarios.waits, "batch")
def waiters_are_served_before_all_is_stored(wrap):
    @wrap(SpaceCore, "_store")
    def _store(original, core, entries):
        firsts = [original(core, [entry]) for entry in entries]
        return firsts[0] if firsts else 0


@_seen_in(scenarios.dead_taker, "lost")
def a_dead_clients_waiter_swallows_a_tuple(wrap):
    @wrap(SpaceCore, "detach")
    def detach(original, core, lane, link):
        pass

    @wrap(SpaceCore, "disconnect")
    def disconnect(original, core, session, now):
        core.advance(now)

    @wrap(SpaceCore, "__init__")
    def __init__(original, core, alive=None, *rest, **options):  # noqa: N807
        original(core, lambda link: True, *rest, **options)


# -- calls and events


@_seen_in(scenarios.broken_network, "twice")
def a_repeated_call_is_applied_again(wrap):
    @wrap(CallDesk, "_repeat")
    def _repeat(original, core, lane, number):
        if number == lane.number and lane.waiter is None:
            lane.number -= 1
            core.call(lane, number, *core.last[lane], core.now)

    @wrap(CallDesk, "call")
    def call(original, core, lane, number, verb, args, now):
        if not hasattr(core, "last"):
            core.last = {}
        core.last[lane] = verb, args
        original(core, lane, number, verb, args, now)


@_seen_in(scenarios.broken_network, "phantom")
def a_kept_reply_is_an_error(wrap):
    @wrap(CallDesk, "_repeat")
    def _repeat(original, core, lane, number):
        lost = errors.MatchTimeoutError("the reply was not kept")
        core.effects.append((lane, number, False, lost))


@_seen_in(scenarios.events, "events")
def a_sequence_number_is_left_out(wrap):
    due = _each(7)

    @wrap(Subscription, "push")
    def push(original, subscription, *event):
        subscription.sequence += due()
        original(subscription, *event)


@_seen_in(scenarios.events, "events")
def an_event_is_not_told(wrap):
    due = _each(7)

    @wrap(Subscription, "push")
    def push(original, subscription, *event):
        if not due():
            original(subscription, *event)


@_seen_in(scenarios.events, "events")
def a_subscriber_hears_what_it_did_not_ask_for(wrap):
    @wrap(Subscription, "__init__")
    def __init__(original, subscription, owner, number, session, kind, template):  # noqa: N807
        original(subscription, owner, number, session, None, template)
