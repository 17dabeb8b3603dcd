"""Steps: jobs that need the results of jobs, as chained and iterative programs do.

Such a program is a generator that yields a job, is sent its results, and may yield another::

    def job(paths, *, rounds=10):
        ranks = {}
        for _ in range(rounds):
            ranks = dict(chain.from_iterable((yield step(paths, ranks))))
        return ranks

Who runs it decides where: `run_steps(job(paths), lambda step: step.run(space))`.
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
        Exception: What `run` or the generator raises. If `run` does, the generator is closed.
    """
    if isinstance(steps, MapReduceJob):
        return run(steps)
    try:
        step = next(steps)
        while True:
            step = steps.send(run(step))
    except StopIteration as ended:
        return ended.value
    finally:
        steps.close()
