"""Amounts as people read them: bytes, seconds, rates. Pure."""

from __future__ import annotations

from typing import Final

#: More of anything is nothing that anybody has measured.
_MOST: Final = 10**18
_UNITS: Final = ("B", "kB", "MB", "GB", "TB", "PB")


def bytes_text(count: float) -> str:
    """Return as in "512 B" or "3.2 MB"; a kB is 1000 bytes."""
    size, unit = float(min(count, _MOST)), 0
    while abs(size) >= 999.5 and unit < len(_UNITS) - 1:
        size, unit = size / 1000, unit + 1
    return (
        f"{size:.0f} {_UNITS[unit]}" if unit == 0 or size >= 99.95 else f"{size:.1f} {_UNITS[unit]}"
    )


def seconds_text(seconds: float) -> str:
    """Return as in "4.9 ms", "0.25 s", "12 s", "3:07 min" or "2:03:07 h"."""
    if 0 < seconds < 0.00995:
        return f"{seconds * 1000:.2g} ms"
    if not 9.95 <= seconds <= _MOST:
        return f"{seconds:.2g} s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    minutes, rest = divmod(whole, 60)
    if minutes < 60:
        return f"{minutes}:{rest:02} min"
    return f"{minutes // 60}:{minutes % 60:02}:{rest:02} h"
