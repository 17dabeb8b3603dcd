"""Friends: who calls whom a friend, one pair a JSON line; often, but not always, it is mutual."""

from __future__ import annotations

import json
from pathlib import Path
from random import Random
from typing import Final

_PERSONS: Final = 2_000
_MUTUAL: Final = 0.7
_BEGINNINGS: Final = ("An", "Bo", "Ce", "Da", "El", "Fi", "Gre", "Ha", "I", "Jo", "Ka", "Li")
_ENDINGS: Final = ("na", "ra", "lla", "mo", "ris", "ta", "no", "nor", "ge", "bel")


def write_friends(folder: Path, size: int) -> None:
    """Write the friends of 2,000 persons times `size` to two files, about 0.5 MB times `size`.

    Of a friendship that is mutual, each direction is in another file.
    """
    draw = Random(4).random
    persons = _PERSONS * size
    with (
        open(folder / "friends0.json", "w", encoding="ascii") as said,
        open(folder / "friends1.json", "w", encoding="ascii") as returned,
    ):
        for person in range(persons):
            friend = person
            # Farther and farther, but not half way round: no friendship comes twice.
            for _ in range(1 + int(20 * draw() ** 3)):
                friend = friend + 1 + int(draw() * 40)
                pair = [_name(person), _name(friend % persons)]
                said.write(json.dumps(pair) + "\n")
                if draw() < _MUTUAL:
                    returned.write(json.dumps(pair[::-1]) + "\n")


def _name(number: int) -> str:
    rest, beginning = divmod(number, len(_BEGINNINGS))
    rest, ending = divmod(rest, len(_ENDINGS))
    return f"{_BEGINNINGS[beginning]}{_ENDINGS[ending]} {rest + 1}"
