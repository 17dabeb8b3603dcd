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
``run_sequential``. What they have kept goes when the generator has ended, or is closed.
"""

from collections.abc import Callable, Generator
from typing import Any

from mapreduce import MapReduceJob

Steps = Generator[MapReduceJob, list[Any], Any]


def run_steps(steps: MapReduceJob | Steps, run: Callable[[MapReduceJob], list[Any]]) -> Any:
    """Run a job, or all jobs of a generator of them, one after the other; return the last results.

    Args:
        steps: A job, whose results are returned; or a generator, what it returns. run: Runs a job.

    Raises:
        Exception: What `run` or the generator raises. The generator is closed whatever comes, Ctrl-C
            too, so that its `finally` blocks have run when this returns.
    """
    if isinstance(steps, MapReduceJob):
        return run(steps)
    results: Any = None
    try:
        while True:
            try:
                step = steps.send(results)
            except StopIteration as ended:
                return ended.value
            results = run(step)  # outside: a StopIteration of the user's functions is no end
    finally:
        steps.close()
