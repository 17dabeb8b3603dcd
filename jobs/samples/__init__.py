"""Sample input for the ready-made jobs: one module for each kind of data.

A sample is the same on every machine and in every version of Python: whatever is random is drawn
from a `random.Random` with a fixed seed, by `random()` alone, which is the one method that Python promises
not to change. What is drawn goes through `+ - * /` and `int()`, which give the same everywhere, as powers and
logarithms may not; and lines end in a newline alone.
"""
