"""Taking calls: time, sessions, operation numbers and kept replies; what is called comes above.

See `sessions` for the life of a session and a lane, drawn. No lock, no clock, no I/O.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable
from typing import Any, Final, Protocol

from tuplespace import errors
from tuplespace.deadlines import Deadlines
from tuplespace.sessions import ABSENCE, FORGET_AFTER, GRACE, Lane, Session
from tuplespace.store.interface import FORGET, REPLY, Change
from tuplespace.wire import pack_reply

#: (lane, operation number, True, value), (..., False, error) or (..., None, either of them packed)
Effect = tuple[Lane, int, bool | None, Any]
#: What a verb returns when its answer comes later.
PARKED: Final = object()


class ParkedCall(Protocol):
    """What a lane waits for."""

    def drop(self) -> None:
        """Forget it: nobody waits any more."""

    def resume(self) -> None:
        """Answer it if that can be done now: its caller has asked again."""


class CallDesk:
    """Applies numbered calls once each, for sessions of callers that may vanish and come back.

    Args:
        first_number: Of ids, tokens and whatever else is numbered.
        journal: Gets what must outlive the process, in order; None: nothing does.

    Attributes:
        effects: Replies to deliver, in order; the host empties it after every call.
        journal: The host replaces it by an empty one when it has appended it to its store.
        now: The time of the latest call, by the host's clock. deadlines: What falls due; a due
            (kind, key) calls the handler of its kind with its key.
    """

    def __init__(self, first_number: int, journal: list[Change] | None = None) -> None:
        self.effects: list[Effect] = []
        self.journal = journal
        self.now = 0.0
        self.deadlines = Deadlines()
        self._numbers = itertools.count(first_number)
        self._sessions: dict[str, Session] = {}
        self._operations = 0
        self._verbs: dict[str, Callable[..., Any]] = {}
        self._when_due: dict[str, Callable[[Any], None]] = {
            "grace": self._end_grace,
            "session": self._end_session,
        }

    def _session_over(self, session: Session) -> None:
        """Let go of all that belongs to a session that has gone."""
        raise NotImplementedError

    def _reply_gone(self, lane: Lane) -> None:
        """Note that a lane's kept reply is not kept any more."""
        raise NotImplementedError

    def _reply_restored(self, lane: Lane, size: int) -> None:
        """Note that a lane has a kept reply of so many bytes from before a restart."""
        raise NotImplementedError

    # -- time

    def next_deadline(self) -> float:
        """Return when `advance` must be called at the latest; infinity: never."""
        return self.deadlines.next()

    def advance(self, now: float) -> None:
        """Let everything fall due that is due by now."""
        self.now = now
        due: Any
        for due in self.deadlines.pop_due(now):
            kind, key = due
            self._when_due[kind](key)

    # -- sessions

    def connect(self, session_id: str, now: float) -> Session:
        """Count one more connection of the session, a new one if it is not known."""
        self.advance(now)
        session = self._sessions.get(session_id)
        if session is None:
            session = self._sessions[session_id] = Session(session_id)
        session.connections += 1
        self._stay(session)
        return session

    def detach(self, lane: Lane, link: Any) -> None:
        """Note that a lane's connection has gone, unless another has taken its place."""
        if lane.link is link:
            lane.link = None

    def disconnect(self, session: Session, now: float) -> None:
        """Count one connection less; the last one starts the session's grace."""
        self.advance(now)
        session.connections -= 1
        if session.connections == 0 and self._sessions.get(session.id) is session:
            for lane in session.lanes.values():
                if lane.waiter is not None:
                    self.unpark(lane)
                    lane.number -= 1  # it was not applied: repeated, it is new
            self.deadlines.set(("grace", session.id), now + GRACE)
            self.deadlines.set(("session", session.id), now + FORGET_AFTER)

    def goodbye(self, session: Session, now: float) -> None:
        """End the session now: its waiters, claims, subscriptions and kept replies."""
        self.advance(now)
        if self._sessions.pop(session.id, None) is None:
            return
        self._stay(session)
        for lane in session.lanes.values():
            self.unpark(lane)
            self._reply_gone(lane)
        session.lanes.clear()
        self._session_over(session)
        self._forget_replies(session)

    def _stay(self, session: Session) -> None:
        self.deadlines.discard(("grace", session.id))
        self.deadlines.discard(("session", session.id))

    def _end_grace(self, session_id: str) -> None:
        self._session_over(self._sessions[session_id])

    def _end_session(self, session_id: str) -> None:
        session = self._sessions.pop(session_id)
        for lane in session.lanes.values():
            self._reply_gone(lane)
        self._forget_replies(session)

    def _forget_replies(self, session: Session) -> None:
        if self.journal is not None and session.is_stored:
            self.journal.append((FORGET, session.id))

    def _absent(self, session_id: str) -> Session:
        """Return the session of that id from before a restart; it may come back."""
        session = self._sessions.get(session_id)
        if session is None:
            session = self._sessions[session_id] = Session(session_id)
            self.deadlines.set(("grace", session_id), self.now + ABSENCE)
            self.deadlines.set(("session", session_id), self.now + FORGET_AFTER)
        return session

    def _restore_replies(self, replies: Iterable[tuple[str, int, int, bytes]]) -> None:
        for session_id, lane_id, number, reply in replies:
            session = self._absent(session_id)
            session.is_stored = True
            lane = session.lane(lane_id)
            lane.number, lane.reply = number, (None, reply)
            self._reply_restored(lane, len(reply))

    # -- calls

    def call(self, lane: Lane, number: int, verb: str, args: Iterable[Any], now: float) -> None:
        """Apply one operation, or answer its repetition; the reply appears in `effects`.

        Args:
            lane: Who calls. number: The operation's number, larger than the lane's last, or
                equal to it for a repetition.
            verb: Its name. args: Its arguments, tuples in plain form, templates compiled.
            now: The space's clock, never less than before.
        """
        if number <= lane.number:
            self._repeat(lane, number)
            return
        self.advance(now)
        self._operations += 1
        self.unpark(lane)
        lane.number, lane.reply = number, None
        if lane.weight:
            self._reply_gone(lane)
        before = self.changes
        try:
            value = self._verbs[verb](lane, *args)
        except errors.TupleSpaceError as error:
            self.answer(lane, False, error, before)
        except Exception as error:  # noqa: BLE001  # nonsense arguments may provoke any
            problem = errors.InvalidArgumentError(f"{verb}: {type(error).__name__}: {error}")
            self.answer(lane, False, problem, before)
        else:
            if value is not PARKED:
                self.answer(lane, True, value, before)

    def abandon(self, lane: Lane, now: float) -> None:
        """Drop what the lane waits for: its caller was interrupted and will not ask again."""
        self.advance(now)
        self.unpark(lane)

    def _repeat(self, lane: Lane, number: int) -> None:
        if number < lane.number:
            stale = errors.InvalidArgumentError(f"operation {number} is older than the lane's last")
            self.effects.append((lane, number, False, stale))
        elif lane.waiter is not None:
            lane.waiter.resume()
        elif lane.reply is not None:
            self.effects.append((lane, number, *lane.reply))

    # -- for what stands above

    def number(self) -> int:
        """Return the next number: none is given twice."""
        return next(self._numbers)

    @property
    def changes(self) -> int:
        """How many changes the journal holds now."""
        return 0 if self.journal is None else len(self.journal)

    def answer(self, lane: Lane, ok: bool | None, value: Any, before: int | None = None) -> None:
        """Reply to a lane's call, and keep the reply.

        Args:
            lane: Whose. ok: Whether `value` is a value, not an error. before: What `changes` was when
                the call began. If there are more by now the reply must outlive the process as they do:
                whoever repeats the call must not have it applied again. A call that has changed
                nothing is simply made again; None: this is one.
        """
        journal = self.journal
        if journal is not None and before is not None and len(journal) > before:
            session = lane.session
            if session.returns:
                ok, value = None, pack_reply(lane.number, bool(ok), value)
                journal.append((REPLY, session.id, lane.id, lane.number, value))
                session.is_stored = True
        lane.reply = (ok, value)
        self.effects.append((lane, lane.number, ok, value))

    def unpark(self, lane: Lane) -> None:
        """Drop what the lane waits for, if it waits."""
        waiter, lane.waiter = lane.waiter, None
        if waiter is not None:
            waiter.drop()


def failures_of(steps: Iterable[Callable[[], Any]]) -> tuple[Any, ...]:
    """Run independent steps; return (number, error's name, message, fields) of those that failed."""
    failed = []
    for number, step in enumerate(steps):
        try:
            step()
        except errors.TupleSpaceError as error:
            failed.append((number, *errors.to_wire(error)))
    return tuple(failed)
