"""Templates once more, written apart from the product's: what matches, and who may match whom."""

from __future__ import annotations

from tuplespace import ANY, Between, Exactly, OneOf

_SCALARS = (type(None), bool, int, float, str, bytes)


def frozen(value):
    """Return something hashable that equal tuples share; bools stay apart from numbers."""
    kind = type(value)
    if kind is str or kind is int:
        return value
    if kind in (tuple, list):
        return (kind, *map(frozen, value))
    if kind is dict:
        return (dict, frozenset((key, frozen(each)) for key, each in value.items()))
    return (bool, value) if kind is bool else value


def shape(value):
    """Return arity, or keys."""
    return frozenset(value) if type(value) is dict else len(value)


def fits(template, value):
    """Say whether a tuple matches a template."""
    if type(template) is dict or type(value) is dict:
        return (
            type(template) is type(value)
            and template.keys() == value.keys()
            and all(_field_fits(wanted, value[key]) for key, wanted in template.items())
        )
    return len(template) == len(value) and all(map(_field_fits, template, value))


def _field_fits(wanted, field):
    kind = type(wanted)
    if wanted is None or wanted is ANY:
        return True
    if kind is Exactly:
        return frozen(wanted.value) == frozen(field)
    if kind is type:
        return type(field) is wanted
    if kind is OneOf:
        return any(_field_fits(each, field) for each in wanted.fields)
    if kind is Between:
        return type(field) in (int, float) and wanted.low <= field <= wanted.high
    if kind in (tuple, dict):
        return type(field) is kind and fits(wanted, field)
    if kind in _SCALARS or kind is list:
        return frozen(wanted) == frozen(field)
    raise NotImplementedError(f"the checker knows no template field {wanted!r}")


class Groups:
    """Finds, for a tuple, the templates that match it, without trying all.

    Templates are filed under which of their positions are plain values, and these values; a tuple
    looks itself up once for each such set of positions that occurs.
    """

    def __init__(self):
        self._tables, self._by_repr = {}, {}

    def add(self, template, group):
        """File a template; return what was filed first for an equal one."""
        known = self._by_repr.setdefault(repr(template), group)
        if known is group:
            fields = template.items() if type(template) is dict else enumerate(template)
            literals = [
                (p, each) for p, each in fields if each is not None and type(each) in _SCALARS
            ]
            positions = tuple(position for position, _ in literals)
            table = self._tables.setdefault(shape(template), {}).setdefault(positions, {})
            table.setdefault(tuple(frozen(each) for _, each in literals), []).append(
                (template, group)
            )
        return known

    def of(self, value):
        """Yield the groups of the templates that match."""
        for positions, table in self._tables.get(shape(value), {}).items():
            for template, group in table.get(tuple(frozen(value[p]) for p in positions), ()):
                if fits(template, value):
                    yield group
