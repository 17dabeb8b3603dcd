"""What state machines choose from. Few of each, so that things meet."""

from __future__ import annotations

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

QUICK = settings(max_examples=80, stateful_step_count=50, deadline=None, derandomize=True)
FEWER = settings(QUICK, max_examples=40)
LONG = settings(
    max_examples=800, stateful_step_count=80, deadline=None,
    suppress_health_check=list(HealthCheck),
)  # fmt: skip

VALUES = st.tuples(st.sampled_from(["a", "b"]), st.integers(0, 2))
BATCHES = st.lists(VALUES, min_size=1, max_size=4)
TEMPLATES = st.sampled_from([("a", None), ("b", None), (None, 1), (None, None), ("a", 1), (str, 0)])
LEASES = st.sampled_from([None, None, None, 0.0, 0.5, 5.0])
TIMEOUTS = st.sampled_from([0, 0, None, 0.5, 3.0])
KINDS = st.sampled_from([None, "write", "take", "delete"])
WHICH = st.integers(0, 1000)
CALLERS = st.sampled_from([(name, lane) for name in ("ann", "bob") for lane in (1, 2, 3)])
