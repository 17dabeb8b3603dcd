"""Attaching: how another driver goes on with a job whose driver is gone.

::

    the job's tuple --> its token, claimed --> the ledger, replayed --> its data, as far as needed
       '-- none: JobNotFoundError  '-- not to be had: JobHasDriverError      '-- gone: InvalidJobError

What if this driver dies right here? It has written nothing but a token of the next epoch, and the
next one begins as it did. Once it has the token, the old driver, should it wake up, is refused.
"""

from __future__ import annotations

from typing import Any, Final

from mapreduce.driver import Inheritance
from mapreduce.engine.space import SpaceEngine
from mapreduce.engine.tenure import driver_of, ledger_in, no_such_job
from mapreduce.errors import InvalidJobError, JobNotFoundError
from mapreduce.ledger import History
from mapreduce.outputs.results import Results, results_of
from mapreduce.records import Decoder
from mapreduce.run import JobRun
from tuplespace.errors import MatchTimeoutError
from tuplespace.interface import Space
from tuplespace.pickles import load
from workers.claims import clear_job
from workers.errors import BlockLostError
from workers.task import Parcel

#: How long to wait for a driver that may be dead, and whose claim has not ended yet.
WAIT_SECONDS: Final = 20.0


def attach(engine: SpaceEngine, job: str, wait: float = WAIT_SECONDS) -> JobRun:
    """Take a job over and go on with it; see `MapReduceJob.attach`.

    Args:
        engine: Of the job's space; closed with the run, or if this fails. wait: Seconds that its
            driver, if it is not known to be dead, has to say a word.
    """
    try:
        description = engine.succeed(job, wait)
        history = _read_ledger(engine, job)
        parcels, home = _sent(engine, history)
        results = _results_of(history)
        engine.go_on(description)
        inheritance = Inheritance(history, engine.take_back(), parcels, home)
        return JobRun(job, lambda: engine, inheritance, results, description.get("label", ""))
    except BaseException:
        engine.leave()
        raise


def cancel(space: Space, job: str) -> str:
    """End a job from outside its driver, which hears of it within about a second.

    Returns:
        The name of its driver, "host/pid"; empty: it has none, and all of it is cleared up.

    Raises:
        JobNotFoundError: There is no such job. TupleSpaceError: The space was lost.
    """
    try:
        space.take(("job", job, dict), timeout=0)
    except MatchTimeoutError:
        raise JobNotFoundError(no_such_job(space, job)) from None
    driver = driver_of(space, job)
    clear_job(space, job)
    return driver


def _read_ledger(engine: SpaceEngine, job: str) -> History:
    history, decoder = History(job), Decoder(job, engine.key)
    for tuples in ledger_in(engine.space, job):
        for event in decoder.feed(tuples):
            history.take(event)
    if not history.facts:
        raise InvalidJobError(
            f"job {job} has no ledger to go on from: its driver died before it had begun, or gave "
            "the ledger up because the space was full; run it again"
        )
    maps = history.facts["maps"]
    if maps is None and not history.ended:
        raise InvalidJobError(
            f"job {job} cannot go on: its data was an iterator that its driver was still reading, "
            f"and split {len(history.splits)} was never read; run the job again"
        )
    if maps is not None and len(history.splits) < maps:
        raise InvalidJobError(
            f"job {job} cannot go on: its driver died before it had sent split "
            f"{len(history.splits)} of {maps}; run the job again"
        )
    engine.continue_from(decoder.serial)
    return history


def _sent(engine: SpaceEngine, history: History) -> tuple[dict[str, Parcel], str]:
    """Return what the job's tasks call, and its home, once all that they need is within reach."""
    facts, parcels = history.facts, dict[str, Parcel]()
    home = engine.share({path for split in history.splits for path in split.files})
    for name in ("map", "reduce", "bundle"):
        sent = facts[name]
        if type(sent) is bytes:
            parcels[name] = engine.send(name, sent, shared=True)
        elif sent is not None:
            try:
                parcels[name] = engine.adopt(Parcel.from_plain(sent))
            except BlockLostError as error:
                raise InvalidJobError(
                    f"job {history.job} cannot go on here: what its {name} tasks call {_lost(error)}"
                ) from error
    for number, split in enumerate(history.splits):
        if history.plan.outputs[number] is None:
            try:
                for parcel in (split.argument, *split.blocks):
                    adopted = engine.adopt(parcel)
                    home = home or (adopted.location.uri if adopted.location else "")
            except BlockLostError as error:
                raise InvalidJobError(
                    f"job {history.job} cannot go on here: split {number} "
                    f"({split.description}) {_lost(error)}"
                ) from error
    return parcels, home


def _lost(error: BlockLostError) -> str:
    return f"is not there any more: {error}; attach on the host of its driver, or run it again"


def _results_of(history: History) -> Results:
    try:
        output: Any = load(history.facts["output"])
    except Exception as error:
        raise InvalidJobError(
            f"the output of job {history.job} cannot be loaded here: {error!r}; attach from a "
            "program that can import what it needs"
        ) from error
    results = results_of(output, history.job)
    results.adopt(history.facts["mark"])
    return results
