"""Sizes as people write them: what each is in bytes, and what is none."""

from __future__ import annotations

from typing import Any

import pytest

from tuplespace.errors import InvalidArgumentError
from workers.sizes import in_words, parse_size


@pytest.mark.parametrize(
    "size, expected",
    [
        (1, 1),
        (200_000_000, 200_000_000),
        ("200000000", 200_000_000),
        ("200MB", 200 * 10**6),
        ("200 mb", 200 * 10**6),
        ("1.5 GB", 1_500_000_000),
        (" 0.1 TB ", 10**11),
        ("512MiB", 512 << 20),
        ("1.25GiB", 5 << 28),
        ("4Gi", 4 << 30),
        ("2g", 2 << 30),  # as in --limit bytes=2g
        ("64K", 64 << 10),
        ("7B", 7),
        ("0.3KiB", 307),  # 307.2
        ("1.000000000001 TB", 1_000_000_000_001),  # a float of 53 bits would do; exactness is free
    ],
)
def test_a_size_is_read_to_the_byte(size: Any, expected: int) -> None:
    assert parse_size(size) == expected


@pytest.mark.parametrize(
    "size",
    [
        0, -1, 1.5, True, None, b"200MB", "", " ", "MB", "0", "0GB", "-1GB", "+1GB", "1e9", ".5GB",
        "1,5GB", "200 M B", "200XB", "200MBB", "5i", "5iB", "inf", "nan", "9" * 5000, "٣MB 1", "1.GB",
    ],
)  # fmt: skip
def test_what_is_no_size_is_refused_with_what_would_be_one(size: Any) -> None:
    with pytest.raises(InvalidArgumentError, match=r"is no size of memory; .*'200MB'"):
        parse_size(size)


def test_sizes_are_shown_in_whole_megabytes_rounded_up() -> None:
    assert in_words(200_000_000) == "200 MB"
    assert in_words(200_000_001) == "201 MB"
    assert in_words(12_345_678_901) == "12,346 MB"
