"""Tables: orders and what was ordered, one row a JSON line, to be joined."""

from __future__ import annotations

import json
from pathlib import Path
from random import Random
from typing import Final

_ORDERS: Final = 5_000
_LINE_ITEMS: Final = 20_000
_THINGS: Final = ("nails", "screws", "hinges", "bolts", "washers", "brackets", "hooks")


def write_tables(folder: Path, size: int) -> None:
    """Write a table of 5,000 orders and one of 20,000 line items, times `size`: about 1 MB times `size`.

    Some orders have no line item, and some line items no order.
    """
    draw = Random(3).random
    orders = _ORDERS * size
    with open(folder / "orders.json", "w", encoding="ascii") as file:
        for number in range(orders):
            date = f"2026-{1 + int(draw() * 12):02}-{1 + int(draw() * 28):02}"
            row = ["order", f"{number:07}", date, f"clerk {int(draw() * 100)}"]
            file.write(json.dumps(row) + "\n")
    with open(folder / "line_items.json", "w", encoding="ascii") as file:
        for _ in range(_LINE_ITEMS * size):
            order, thing = int(draw() * orders * 1.1), _THINGS[int(draw() * len(_THINGS))]
            item = ["line_item", f"{order:07}", thing, 1 + int(draw() * 500)]
            file.write(json.dumps(item) + "\n")
