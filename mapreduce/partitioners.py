"""Ready-made partitioners: what to deal keys by.

::

    from mapreduce import partitioners

    job.partition = partitioners.host_partition

There are::

    hash_partition        the whole key; what a job does that has no other
    range_partition()     its place in the order of all keys: partitions one after the other are sorted
    host_partition        the host of a URL: all pages of a site are in one partition
    field_partition(0)    one field, or some, of a composite key, such as the user of (user, second)
    partition_by(f)       what a function makes of the key

All but the second go by `stable_hash`, so a key's partition is the same on every machine.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit

from mapreduce.errors import InvalidJobError, PartitionError, shorten
from mapreduce.partition import Partitioner, hash_partition, stable_hash
from mapreduce.ranges import range_partition

__all__ = [
    "Partitioner",
    "field_partition",
    "hash_partition",
    "host_partition",
    "partition_by",
    "range_partition",
]


def host_partition(key: Any, R: int) -> int:  # noqa: N803 - R, as in the paper
    """Return the partition of a URL: that of its host, whatever the case, port and user.

    Source: Dean and Ghemawat, MapReduce (OSDI 2004), section 4.1: ``hash(Hostname(urlkey)) mod R``.

    Args:
        key: A URL as a str, with or without its scheme.

    Raises:
        PartitionError: It is none, or has no host.

    Examples:
        >>> urls = ["http://a.org/x", "https://A.org:80/y", "a.org/z"]
        >>> len({host_partition(url, 1000) for url in urls})
        1
    """
    host = None
    if isinstance(key, str):
        try:
            host = urlsplit(key if "//" in key.partition("?")[0] else f"//{key}").hostname
        except ValueError as error:  # such as half of an IPv6 address
            raise PartitionError(f"the key {shorten(key)} is no URL: {error}") from error
    if not host:
        raise PartitionError(
            f"host_partition deals URLs by their hosts, and the key {shorten(key)} has none"
        )
    return stable_hash(host) % R


class field_partition:  # noqa: N801  # reads as hash_partition does
    """Make a partitioner of composite keys that goes by some of their fields.

    Args:
        fields: The positions of the fields; negative ones count from the end.

    Raises:
        InvalidJobError: There is none, or one is no int.

    Examples:
        >>> by_user = field_partition(0)
        >>> by_user(("ann", 3), 100) == by_user(("ann", 7), 100)
        True
    """

    def __init__(self, *fields: int) -> None:
        if not fields or not all(type(field) is int for field in fields):
            raise InvalidJobError(
                f"field_partition() takes the positions of fields, ints, not {shorten(fields)}"
            )
        self._fields = fields

    def __repr__(self) -> str:
        return f"field_partition({', '.join(map(repr, self._fields))})"

    def __call__(self, key: Any, R: int) -> int:  # noqa: N803 - R, as in the paper
        """Return the partition of a key.

        Raises:
            PartitionError: It is no tuple, or too short. UnstableKeyError: A field has no stable hash.
        """
        try:
            if not isinstance(key, tuple):
                raise IndexError
            found = [key[field] for field in self._fields]
        except IndexError:
            raise PartitionError(
                f"{self!r} deals tuples with such fields, and the key {shorten(key)} is none"
            ) from None
        return stable_hash(found[0] if len(found) == 1 else tuple(found)) % R


class partition_by:  # noqa: N801  # reads as hash_partition does
    """Make a partitioner that goes by what a function makes of the key.

    Args:
        function: Gets a key and returns what has a stable hash.

    Raises:
        InvalidJobError: It is no function.

    Examples:
        >>> by_initial = partition_by(lambda word: word[0])
        >>> by_initial("apple", 100) == by_initial("avocado", 100)
        True
    """

    def __init__(self, function: Callable[[Any], Any]) -> None:
        if not callable(function):
            raise InvalidJobError(f"partition_by() takes a function, not {shorten(function)}")
        self._function = function

    def __repr__(self) -> str:
        return f"partition_by({self._function!r})"

    def __call__(self, key: Any, R: int) -> int:  # noqa: N803 - R, as in the paper
        """Return the partition of a key.

        Raises:
            UnstableKeyError: What the function returned has no stable hash.
        """
        return stable_hash(self._function(key)) % R
