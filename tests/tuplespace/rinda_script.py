"""Scripts for a space and for Ruby's Rinda, and what may differ between the two.

A script is a list of operations, each a tuple: its name and its arguments, as `rinda_play.Play`
has a method for it. Whatever a random script writes ends in a number of its own, so that two
answers can be told apart.
"""

from __future__ import annotations

import math
import re
import struct

from tuplespace import ANY, Between, Exactly, OneOf, matches

#: Every way in which we answer otherwise than Rinda, on purpose; docs/rinda.md says why.
DEVIATIONS = {
    # what matches
    "nested_wildcards": "wildcards and types count inside nested tuples and dicts",
    "list_is_no_tuple": "a list and a tuple are two things; Ruby has one array",
    "bytes_are_no_str": "bytes and str are two things; Ruby has one string",
    "range_is_whole_numbers": "a range holds whole numbers; 1...5 in Ruby holds 2.5 too",
    "regex_dialect": "^ and $ are the ends of the str; in Ruby those of its lines",
    "one_of_by_equality": "OneOf(1) matches 1.0; a Ruby Set does not",
    "objects_only_by_wildcard": "only a wildcard matches an object, a class too",
    "empty_shapes": "() and {} are two shapes; in Rinda [] matches {}",
    "only_tuples_and_dicts": "only a tuple or a dict is one; Rinda takes what has size and []",
    # order
    "first_in_first_out": "the oldest match comes first; in Rinda it depends",
    "waiters_in_order": "the longest waiting taker is served first; in Rinda any",
    # time
    "timeouts_by_the_clock": "a timeout is over when it is; in Rinda at the next sweep",
    "deletes_at_once": "a delete is told when it happens; in Rinda at the next sweep",
    "for_ever": "lease=None is for ever; Rinda's nil ends on 2038-01-19",
    "lease_is_seconds": "a lease is None or seconds >= 0; Rinda takes true, -1 and renewers",
    "lease_zero_serves_takers": "a write with lease=0 serves a taker; in Rinda readers only",
    # handles and parked calls
    "cancel_says_whether": "Handle.cancel says whether the tuple was there; Rinda's says true",
    "gone_is_gone": "a handle of a tuple that is gone cannot renew it; in Rinda it may rise",
    "no_cancel_of_parked_calls": "a parked call ends by timeout or close; Rinda can cancel it",
    # what one gets
    "copies": "what is read is a copy; in Rinda's own process it is the tuple itself",
    "bounded_backlog": "a subscriber 10,000 events behind gets one overflow; Rinda keeps all",
    "cancel_drops_events": "a cancelled notify gives close at once; Rinda's its queue first",
}  # fmt: skip

#: Stands for what nothing equals.
_NEVER = "\0never"


# -- translation


def encode(value, symbols=False):
    """Return a tuple, a template or a field as the JSON that rinda_peer.rb understands.

    With `symbols` a str at the head of a tuple is a Ruby Symbol, which Rinda files differently.
    """
    if symbols and isinstance(value, (tuple, list)) and value:
        return [_as_symbol(value[0]), *map(encode, value[1:])]
    return _encode_field(value)


def _as_symbol(head):
    if type(head) is str:
        return {"s": head}
    if type(head) is OneOf:
        return {"set": [_as_symbol(each) for each in head.fields]}
    return {"t": "Symbol"} if head is str else _encode_field(head)


_TYPES = {int: "Integer", float: "Float", str: "String", bytes: "String", tuple: "Array",
          list: "Array", dict: "Hash"}  # fmt: skip


def _encode_field(value):  # noqa: C901  # one line for each kind
    kind = type(value)
    if value is None or value is ANY:
        return None
    if kind in (bool, int, str):
        return value
    if kind is float:
        return {"f": struct.pack(">d", value).hex()}
    if kind is bytes:
        return {"b": value.hex()}
    if kind in (tuple, list):
        return [_encode_field(each) for each in value]
    if kind is dict:
        return {"h": sorted([key, _encode_field(each)] for key, each in value.items())}
    if kind is Exactly:
        return {"t": "NilClass"} if value.value is None else _encode_field(value.value)
    if kind is Between:
        return {"r": [_encode_field(value.low), _encode_field(value.high), False]}
    if kind is range:
        return {"r": [value.start, value.stop, True]}
    if kind is re.Pattern:
        return {"re": value.pattern}
    if kind is OneOf:
        return {"set": [_encode_field(each) for each in value.fields]}
    if value is bool:
        return {"set": [False, True]}  # Ruby has no class for both
    return {"t": _TYPES[value]}


# -- what Rinda matches


def _deep(change, field):
    """Apply `change` to a field, or to all that it is made of."""
    kind = type(field)
    if kind is tuple or kind is list:
        return change(kind(_deep(change, each) for each in field))
    if kind is dict:
        return {key: _deep(change, each) for key, each in field.items()}
    if kind is Exactly:
        return Exactly(_deep(change, field.value))
    if kind is OneOf:
        return OneOf(*(_deep(change, each) for each in field.fields))
    if kind is Between:
        return Between(_deep(change, field.low), _deep(change, field.high))
    return change(field)


def _list_is_no_tuple(field, value):
    def change(each):
        return tuple(each) if type(each) is list else tuple if each is list else each

    return _deep(change, field), _deep(change, value)


def _bytes_are_no_str(field, value):
    def change(each):
        if type(each) is bytes:
            return each.decode("ascii", "surrogateescape")
        return str if each is bytes else each

    return _deep(change, field), _deep(change, value)


def _nested_wildcards(field, value):
    def literal(each):
        plain = each is None or type(each) in (bool, int, float, str, tuple)
        return each if plain else _NEVER

    return Exactly(_deep(literal, field)) if type(field) in (tuple, dict) else field, value


def _range_is_whole_numbers(field, value):
    if type(field) is range:
        return Between(field.start, math.nextafter(field.stop, -math.inf)), value
    return field, value


def _regex_dialect(field, value):
    if type(field) is re.Pattern:
        return re.compile(field.pattern, re.MULTILINE), value
    return field, value


def _one_of_by_equality(field, value):
    if type(field) is OneOf:
        return OneOf(*(each for each in field.fields if type(each) is type(value))), value
    return field, value


def _objects_only_by_wildcard(field, value):
    return ANY if isinstance(value, type) and field is value else field, value


#: Each turns a field and a value into what Rinda would see in their place, as far as this goes.
_EYES = {
    "list_is_no_tuple": _list_is_no_tuple,
    "bytes_are_no_str": _bytes_are_no_str,
    "nested_wildcards": _nested_wildcards,
    "range_is_whole_numbers": _range_is_whole_numbers,
    "regex_dialect": _regex_dialect,
    "one_of_by_equality": _one_of_by_equality,
    "objects_only_by_wildcard": _objects_only_by_wildcard,
}


def _field_in_rindas_eyes(field, value):
    """Return whether Rinda matches them, and the deviations that made a difference."""
    verdict, names = matches((field,), (value,)), set()
    for name, see in _EYES.items():
        field, value = see(field, value)
        seen = matches((field,), (value,))
        if seen is not verdict:
            verdict = seen
            names.add(name)
    return verdict, names


def in_rindas_eyes(template, value):
    """Return whether Rinda matches a tuple, and the deviations that made a difference."""
    if not template and not value:
        return True, {"empty_shapes"} if type(template) is not type(value) else set()
    if type(template) is not type(value) or len(template) != len(value):
        return False, set()
    if type(template) is dict:
        if template.keys() != value.keys():
            return False, set()
        pairs = [(template[key], value[key]) for key in template]
    else:
        pairs = list(zip(template, value, strict=True))
    verdicts = [_field_in_rindas_eyes(*pair) for pair in pairs]
    return all(each for each, _ in verdicts), set().union(*(names for _, names in verdicts))


def explain(template, value, ours, theirs):
    """Return the deviations by which we say `ours` of a match and Rinda `theirs`; none: a bug."""
    predicted, names = in_rindas_eyes(template, value)
    return names if predicted is theirs and matches(template, value) is ours else set()


# -- random scripts

HEADS = ["a", "b", "ab", 1, 2.0, None]
HEAD_FIELDS = [None, ANY, "a", "b", 1, str, int, re.compile("a"), OneOf("a", "b"), Exactly(None)]
FIELDS = [
    0, 1, 2, 7, 2.0, 2.5, 2**70, math.inf, math.nan, True, False, None, "", "a", "b", "abc", "x\nab",
    b"a", b"\xff", (), (1, "a"), (1, None), [], [1, "a"], {"k": 1}, {"k": None}, int,
]  # fmt: skip
QUERIES = [
    *(each for each in FIELDS if each is not int), None, None, None, ANY, Exactly(None), int, float,
    str, bytes, bool, tuple, list, dict, Between(0, 2), Between("a", "b"), Between(1, None),
    Between(None, 2), Between((1,), (2,)), range(7), re.compile("b"), re.compile("^a"),
    OneOf("a", 1, 2), OneOf(True, "b"), (1, ANY), (int, None), {"k": int}, Exactly((1, None)),
    Exactly("a"),
]  # fmt: skip
#: Heads of tuples that takers and readers wait for; nothing else has them.
WAITED = ["wait", "attend"]
WAITED_FIELDS = [None, "x", "y", str]

_WEIGHTS = {
    "write": 30, "take": 18, "read": 8, "read_all": 12, "renew": 5, "cancel": 5, "brief": 1,
    "notify": 5, "drain": 3, "unnotify": 1, "park": 6, "feed": 6, "refuse": 1, "sweep": 2,
}  # fmt: skip


def random_script(rng, length):
    """Return a script of so many operations, drawn with a `random.Random`."""
    names, weights = list(_WEIGHTS), list(_WEIGHTS.values())
    values = [(each,) * 3 for each in HEADS]
    script = []
    for number, kind in enumerate(rng.choices(names, weights, k=length)):
        script.append(_operation(rng, kind, 1000 + number, values))
        if kind == "write":
            values.append(script[-1][1])
    return script


def _operation(rng, kind, serial, values):
    """Draw one; its serial is what a tuple ends in, and the name of a handle or a waiter."""
    earlier = rng.randrange(1000, serial + 1)
    if kind == "write":
        return kind, _value(rng, serial), rng.choice((None, None, None, 60, 60, 0))
    if kind in ("take", "read", "read_all"):
        return kind, _template(rng, values)
    if kind == "renew":
        return kind, earlier, rng.choice((None, 60, 0))
    if kind in ("cancel", "unnotify"):
        return kind, earlier
    if kind == "brief":
        return kind, _value(rng, serial)
    if kind == "notify":
        event = rng.choice((None, None, "write", "take", "delete"))
        template = _template(rng, values)
        return kind, serial, event, rng.choice((template, (None,) * len(template)))
    if kind == "park":
        template = (rng.choice(WAITED), rng.choice(WAITED_FIELDS), None)
        return kind, serial, rng.choice(("take", "take", "read")), template
    if kind == "feed":
        return kind, (rng.choice(WAITED), rng.choice("xy"), serial), None
    if kind == "refuse":
        return rng.choice((
            ("write", _value(rng, serial), rng.choice((True, -1))), ("write", {1: serial}, None),
            ("write", None, None), ("write", ["a", serial], None), ("take", {1: None}),
        ))  # fmt: skip
    return (kind,)  # drain, sweep


def _value(rng, serial):
    if rng.random() < 0.15:
        return {rng.choice("kl"): rng.choice(FIELDS), "id": serial}
    fields = (rng.choice(FIELDS) for _ in range(rng.choice((0, 1, 1, 1, 2))))
    return (rng.choice(HEADS), *fields, serial)


def _template(rng, values):
    """Draw one that matches an earlier tuple, as likely as not."""
    like = rng.choice(values)
    if type(like) is dict:
        return {key: rng.choice(QUERIES) if key != "id" else None for key in like}
    fields = [rng.choice((None, None, rng.choice(QUERIES))) for _ in like[1:-1]]
    return (rng.choice((None, None, *HEAD_FIELDS)), *fields, None)


#: Every field against every template.
ALL_MATCHES = [
    *(("write", ("f", field, 1000 + number), 60) for number, field in enumerate(FIELDS)),
    *(("read_all", ("f", query, None)) for query in QUERIES),
]

#: The shortest script that shows each deviation, and shows no other.
DEMONSTRATIONS = {
    "nested_wildcards": [("write", ("a", (1, 2)), 60), ("read", ("a", (1, None)))],
    "list_is_no_tuple": [("write", ("a", [1]), 60), ("read", ("a", (1,)))],
    "bytes_are_no_str": [("write", ("a", b"x"), 60), ("read", ("a", "x"))],
    "range_is_whole_numbers": [("write", ("a", 2.5), 60), ("read", ("a", range(5)))],
    "regex_dialect": [("write", ("a", "x\ny"), 60), ("read", ("a", re.compile("^y")))],
    "one_of_by_equality": [("write", ("a", 1.0), 60), ("read", ("a", OneOf(1)))],
    "objects_only_by_wildcard": [("write", ("a", int), 60), ("read", ("a", int))],
    "empty_shapes": [("write", {}, 60), ("read", ())],
    "only_tuples_and_dicts": [("write", "ab", 60), ("write", 5, 60), ("write", ["a"], 60)],
    "first_in_first_out": [("write", ("a", 1), 60), ("write", ("a", 2), 60), ("take", ("a", None))],
    "waiters_in_order": [("rush", ("w", None), [("w", number) for number in range(30)])],
    "timeouts_by_the_clock": [("expire", "take", ("w", 1)), ("expire", "read", ("w", 1))],
    "deletes_at_once": [("notify", 1, None, ("a", None)), ("write", ("a", 1001), 60),
                        ("cancel", 1001), ("write", ("a", 1002), 60), ("sweep",), ("drain",)],
    "for_ever": [("write", ("a", 1), None)],
    "lease_is_seconds": [("write", ("a", 1001), True), ("write", ("a", 1002), -1)],
    "lease_zero_serves_takers": [("park", 1, "take", ("w", None)), ("feed", ("w", 1001), 0)],
    "cancel_says_whether": [("write", ("a", 1001), 60), ("take", ("a", None)), ("cancel", 1001)],
    "gone_is_gone": [("write", ("a", 1001), 60), ("renew", 1001, 0), ("renew", 1001, 60)],
    "no_cancel_of_parked_calls": [("call_off", "take", ("w", 1)), ("call_off", "read", ("w", 1))],
    "copies": [("write", ("a", [1]), 60), ("spoil", ("a", None))],
    "bounded_backlog": [("flood", ("a", None), 10_001)],
    "cancel_drops_events": [("notify", 1, None, ("a", None)), ("write", ("a", 1001), 60),
                            ("unnotify", 1, False)],
}  # fmt: skip
