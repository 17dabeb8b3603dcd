"""Whole spaces, near and far, and a model of them, driven side by side by Hypothesis."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, precondition, rule, run_state_machine_as_test

from history.choices import BATCHES, FEWER, KINDS, LONG, TEMPLATES, VALUES, WHICH
from history.model import SessionModel
from tuplespace import ClaimLostError, LeaseExpiredError, MatchTimeoutError, TupleSpace, connect


class SpaceMachine(RuleBasedStateMachine):
    """A whole space, driven by one thread: no call waits, and no lease ends."""

    make_space = TupleSpace

    def __init__(self):
        super().__init__()
        self.space, self.model = self.make_space(), SessionModel()
        self.handles, self.claims, self.listening = [], [], []

    def teardown(self):
        self.space.close()

    @rule(values=BATCHES)
    def write(self, values):
        entries = self.model.write_all(values, None)
        self.handles += zip(self.space.write_many(values), entries, strict=True)

    @rule(verb=st.sampled_from(["take", "read", "take_many", "claim", "claim_many"]),
          template=TEMPLATES, limit=st.integers(1, 3))  # fmt: skip
    def search(self, verb, template, limit):
        many = verb.endswith("_many")
        self.model.search("me", verb, template, limit if many else 1)
        kind, value = self.model.answers.pop("me")
        args = [template, limit] if many else [template]
        call = getattr(self.space, verb)
        if kind == "error":
            with pytest.raises(MatchTimeoutError):
                call(*args, timeout=0)
            return
        got = call(*args, timeout=0)
        if verb.startswith("claim"):
            claims = got if many else [got]
            assert [claim.tuple for claim in claims] == [entry["value"] for entry in value]
            self.claims += [(c, e["claim"]) for c, e in zip(claims, value, strict=True)]
        else:
            assert got == (list(value) if many else value)

    @rule(template=TEMPLATES)
    def look(self, template):
        found = [entry["value"] for entry in self.model.ready(template)]
        assert self.space.read_all(template) == found
        assert self.space.count(template) == len(found)

    @rule(template=TEMPLATES, value=VALUES)
    def swap(self, template, value):
        found = self.model.ready(template)
        if not found:
            with pytest.raises(MatchTimeoutError):
                self.space.swap(template, value)
            return
        assert self.space.swap(template, value) == found[0]["value"]
        self.model.remove(found[0])
        self.model.write_all([value], None)

    @precondition(lambda self: self.claims)
    @rule(which=WHICH, values=BATCHES, end=st.sampled_from(["confirm", "release", "renew"]))
    def end_claim(self, which, values, end):
        claim, record = self.claims[-1 - which % min(len(self.claims), 6)]
        entry = self.model.held("m", record)
        call = {
            "confirm": lambda: claim.confirm(values), "release": claim.release,
            "renew": lambda: claim.renew(30.0, write=values),
        }[end]  # fmt: skip
        if entry is None:
            with pytest.raises(ClaimLostError):
                call()
            return
        call()
        if end == "release":
            self.model.give_back(entry)
            return
        if end == "confirm":
            self.model.remove(entry)
        self.model.write_all(values, None)

    @precondition(lambda self: self.handles)
    @rule(which=WHICH, cancel=st.booleans())
    def handle(self, which, cancel):
        handle, entry = self.handles[-1 - which % min(len(self.handles), 6)]
        there = self.model.there(entry)
        if cancel:
            assert handle.cancel() is there
            if there:
                self.model.remove(entry, "delete")
        elif there:
            handle.renew(60.0)
        else:
            with pytest.raises(LeaseExpiredError):
                handle.renew(60.0)

    @precondition(lambda self: len(self.listening) < 3)
    @rule(template=TEMPLATES, kind=KINDS)
    def notify(self, template, kind):
        self.listening.append(
            (self.space.notify(kind, template), self.model.notify("me", template, kind, None))
        )

    @precondition(lambda self: self.listening)
    @rule(which=WHICH)
    def hear(self, which):
        subscription, record = self.listening[which % len(self.listening)]
        for number, kind, value in record["pending"]:
            event = subscription.next(timeout=0)
            assert (event.sequence, event.event, event.tuple) == (number, kind, value)
        record["pending"].clear()
        with pytest.raises(MatchTimeoutError):
            subscription.next(timeout=0)


def test_a_local_space_agrees_with_the_model():
    run_state_machine_as_test(SpaceMachine, settings=FEWER)


@pytest.fixture
def remote_machine(space_server):
    class Machine(SpaceMachine):
        def make_space(self):
            space = connect(space_server.uri, retry_for=5)
            with contextlib.suppress(MatchTimeoutError):
                while True:
                    space.take_many((None, None), 1000, timeout=0)
            return space

    return Machine


def test_a_remote_space_agrees_with_the_model(remote_machine):
    run_state_machine_as_test(remote_machine, settings=FEWER)


@pytest.mark.faults
@pytest.mark.timeout(600)
def test_a_remote_space_agrees_with_the_model_for_long(remote_machine):
    run_state_machine_as_test(remote_machine, settings=LONG)
