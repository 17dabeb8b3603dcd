"""Steps: jobs that need the results of jobs, as chained and iterative programs do.

Such a program is a generator that yields a job, is sent its results, and may yield another::

    def job(paths, *, rounds=10):
        ranks = {}
        for _ in range(rounds):
            ranks = dict(chain.from_iterable((yield step(paths, ranks))))
        return ranks

Who runs it decides where: ``run_steps(job(paths), lambda step: step.run(space))``. On this machine
alone, all steps share one `EmbeddedEngine`, which costs a start only once::

    with closing(EmbeddedEngine()) as cluster:
        run_steps(job(paths), lambda step: step.run(cluster.another()))

Steps that leave their results with the workers, by ``KeepBlocks()``, need a space, such a cluster, or
``run_sequential``. What they have kept goes when nobody refers to it, at the latest with the last step.
"""

from collections.abc import Callable, Generator
from typing import Any
from weakref import ref

from mapreduce import Blocks, MapReduceJob

Steps = Generator[MapReduceJob, list[Any], Any]


def run_steps(steps: MapReduceJob | Steps, run: Callable[[MapReduceJob], list[Any]]) -> Any:
    """Run a job, or all jobs of a generator of them, one after the other; return the last results.

    Args:
        steps: A job, whose results are returned; or a generator, what it returns. run: Runs a job.

    Raises:
        Exception: What `run` or the generator raises. Whatever comes, Ctrl-C too, the generator is
            closed, and what its steps have kept is deleted, when this returns.
    """
    if isinstance(steps, MapReduceJob):
        return run(steps)
    results: Any = None
    kept: list[ref[Blocks]] = []
    try:
        while True:
            try:
                step = steps.send(results)
            except StopIteration as ended:
                return ended.value
            results = run(step)  # outside: a StopIteration of the user's functions is no end
            if isinstance(results, Blocks):
                kept.append(ref(results))
    finally:
        steps.close()
        for blocks in kept:
            if (still_there := blocks()) is not None:  # an error's traceback refers to it, for one
                still_there.delete()
