"""Expressions of a sweep file: arithmetic and comparisons over a point, evaluated without eval.

The text is parsed with Python's own grammar and turned into nested functions; only the node types
in this file exist, so nothing can be imported, called or reached that is not listed here.
"""

import ast
import math
import operator
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from ...datatypes.base.errors import BitlatheError, unknown_name

MAX_LENGTH = 1000
MAX_POWER = 64

T = TypeVar("T")
Values = Mapping[str, Any]
Step = Callable[[Values], Any]


class _RefusedError(Exception):
    """What is wrong with an expression; becomes a BitlatheError with the text around it."""


def _number(value: Any) -> Any:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise _RefusedError(f"{value!r} is no number")
    return value


def _result(do: Callable[..., Any], sign: str, *numbers: Any) -> Any:
    """Return what a function makes of numbers; a failure in words about them."""
    try:
        value = do(*map(_number, numbers))
        if isinstance(value, int | float) and math.isfinite(value):
            return value
    except ZeroDivisionError:
        raise _RefusedError("division by zero") from None
    except OverflowError:
        pass
    except ValueError:
        raise _RefusedError(f"{sign} of {', '.join(map(str, numbers))} is no number") from None
    raise _RefusedError(f"the result of {sign} is too large or no real number")


def _power(base: Any, exponent: Any) -> Any:
    if abs(exponent) > MAX_POWER:
        raise _RefusedError(f"exponent {exponent:.15g} is beyond {MAX_POWER}")
    return float(base) ** exponent


def _ordered(test: Callable[[Any, Any], bool]) -> Callable[[Any, Any], bool]:
    def run(a: Any, b: Any) -> bool:
        if not (isinstance(a, str) and isinstance(b, str)):
            _number(a), _number(b)
        return test(a, b)

    return run


def _is_in(item: Any, among: Any) -> bool:
    if isinstance(among, list) or (isinstance(among, str) and isinstance(item, str)):
        return item in among
    raise _RefusedError(f"'in' needs a list, not {among!r}")


_ARITHMETIC: dict[type, tuple[str, Callable[[Any, Any], Any]]] = {
    ast.Add: ("+", operator.add),
    ast.Sub: ("-", operator.sub),
    ast.Mult: ("*", operator.mul),
    ast.Div: ("/", operator.truediv),
    ast.FloorDiv: ("//", operator.floordiv),
    ast.Mod: ("%", operator.mod),
    ast.Pow: ("**", _power),
}
_COMPARE: dict[type, Callable[[Any, Any], bool]] = {
    ast.Lt: _ordered(operator.lt),
    ast.LtE: _ordered(operator.le),
    ast.Gt: _ordered(operator.gt),
    ast.GtE: _ordered(operator.ge),
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
    ast.In: _is_in,
    ast.NotIn: lambda a, b: not _is_in(a, b),
}
_OF_MANY: dict[str, Callable[..., Any]] = {
    "max": lambda *numbers: max(numbers),
    "min": lambda *numbers: min(numbers),
}
FUNCTIONS: dict[str, Callable[..., Any]] = {
    "abs": abs,
    "ceil": math.ceil,
    "floor": math.floor,
    "log2": math.log2,
    **_OF_MANY,
    "sqrt": math.sqrt,
}


_WORDS = {"true": True, "false": False}  # as YAML writes them
# words for results -> their columns
SYNONYMS = {
    "area": "area_um2",
    "bandwidth": "dram_gb_per_s",
    "clocks": "cycles",
    "delay": "seconds",
    "edp": "edp_pj_s",
    "energy": "energy_pj",
    "latency": "seconds",
    "power": "power_w",
    "runtime": "seconds",
    "stalls": "stall_cycles",
    "time": "seconds",
    "traffic": "dram_bits",
}


def _unknown(name: str, keys: Iterable[str]) -> str:
    known = set(keys) | {key.removesuffix(".total") for key in keys}
    meant = SYNONYMS.get(name.lower())
    if meant in known:
        return f"unknown key {name!r}; did you mean {meant!r}?"
    return unknown_name("key", name, keys)


def _dotted(node: ast.expr) -> str:
    """Return ``a.b.c`` for a name or a chain of attributes."""
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.Attribute):
        return f"{_dotted(node.value)}.{node.attr}"
    raise _RefusedError("a dot may stand only inside a key such as array.rows")


def lookup(values: Values, name: str) -> Any:
    """Return the value of a key; ``energy_pj`` alone stands for ``energy_pj.total``."""
    if name in values:
        return values[name]
    return values[f"{name}.total"]


def _binary(node: ast.BinOp, names: set[str]) -> Step:
    if type(node.op) not in _ARITHMETIC:
        raise _RefusedError(f"operator {type(node.op).__name__} is not available")
    sign, do = _ARITHMETIC[type(node.op)]
    left, right = _step(node.left, names), _step(node.right, names)
    return lambda v: _result(do, sign, left(v), right(v))


def _compare(node: ast.Compare, names: set[str]) -> Step:
    sides = [_step(side, names) for side in (node.left, *node.comparators)]
    for op in node.ops:
        if type(op) not in _COMPARE:
            raise _RefusedError("compare with < <= > >= == != in, not 'is'")
    tests = [_COMPARE[type(op)] for op in node.ops]

    def run(values: Values) -> bool:
        left = sides[0](values)
        for test, side in zip(tests, sides[1:], strict=True):
            right = side(values)
            if not test(left, right):
                return False
            left = right
        return True

    return run


def _call(node: ast.Call, names: set[str]) -> Step:
    if not isinstance(node.func, ast.Name) or node.func.id not in FUNCTIONS:
        raise _RefusedError(f"only these functions exist: {', '.join(sorted(FUNCTIONS))}")
    name, count = node.func.id, len(node.args)
    if node.keywords or not count or (count > 1 and name not in _OF_MANY):
        takes = "numbers" if name in _OF_MANY else "one number"
        raise _RefusedError(f"{name} takes {takes}, as in {name}(array.rows)")
    arguments = [_step(a, names) for a in node.args]
    return lambda v: _result(FUNCTIONS[name], name, *[a(v) for a in arguments])


def _yes(value: Any) -> bool:
    if not isinstance(value, bool):
        raise _RefusedError(f"{value!r} is neither true nor false; compare it with something")
    return value


def _bool(node: ast.BoolOp, names: set[str]) -> Step:
    parts = [_step(part, names) for part in node.values]
    if isinstance(node.op, ast.And):
        return lambda v: all(_yes(part(v)) for part in parts)
    return lambda v: any(_yes(part(v)) for part in parts)


def _unary(node: ast.UnaryOp, names: set[str]) -> Step:
    inner = _step(node.operand, names)
    if isinstance(node.op, ast.Not):
        return lambda v: not _yes(inner(v))
    if isinstance(node.op, ast.USub):
        return lambda v: -_number(inner(v))
    if isinstance(node.op, ast.UAdd):
        return lambda v: +_number(inner(v))
    raise _RefusedError("operator ~ is not available")


def _step(node: ast.expr, names: set[str]) -> Step:
    """Turn one node into a function of the values; collect the keys it reads."""
    if isinstance(node, ast.Constant) and isinstance(node.value, bool | int | float | str):
        constant = node.value
        return lambda v: constant
    if isinstance(node, ast.Name) and node.id in _WORDS:
        word = _WORDS[node.id]
        return lambda v: word
    if isinstance(node, ast.Name | ast.Attribute):
        name = _dotted(node)
        names.add(name)
        return lambda v: lookup(v, name)
    if isinstance(node, ast.List | ast.Tuple):
        items = [_step(item, names) for item in node.elts]
        return lambda v: [item(v) for item in items]
    builders: dict[type, Callable[[Any, set[str]], Step]] = {
        ast.BinOp: _binary,
        ast.BoolOp: _bool,
        ast.Call: _call,
        ast.Compare: _compare,
        ast.UnaryOp: _unary,
    }
    if type(node) not in builders:
        raise _RefusedError(f"{type(node).__name__} is not available in an expression")
    return builders[type(node)](node, names)


@dataclass(frozen=True, slots=True, kw_only=True)
class Expression:
    """A parsed expression: its text, the keys it reads, the function that computes it.

    ``place`` (``file:line:column``) is put before its errors. ``switches`` are the keys that stand
    for a yes or no themselves: ``causal`` in ``causal or batch > 1``.
    """

    text: str
    names: frozenset[str]
    step: Step
    place: str = ""
    switches: frozenset[str] = frozenset()

    def __call__(self, values: Values) -> Any:
        """Return the expression's value for one point.

        Raises
        ------
        BitlatheError
            A key without a value, a division by zero, text where a number is due.
        """
        return self._computed(self.step, values)

    def holds(self, values: Values) -> bool:
        """Return whether a condition holds for one point; errors as of `__call__`."""
        found: bool = self._computed(lambda v: _yes(self.step(v)), values)
        return found

    def _computed(self, step: Step, values: Values) -> Any:
        try:
            return step(values)
        except KeyError as err:
            why = f"{str(err.args[0]).removesuffix('.total')!r} has no value here"
        except _RefusedError as err:
            why = str(err)
        raise BitlatheError(f"{_before(self.place)}{self.text!r}: {why}.")


Verdict = bool | str


def verdict(constraints: Sequence[Expression], values: Values) -> Verdict:
    """Return whether a point meets all constraints, or why one of them cannot be computed.

    Examples
    --------
    >>> verdict([parse_expression("1 / x > 2")], {"x": 0})
    "'1 / x > 2': division by zero."
    """
    try:
        return all(constraint.holds(values) for constraint in constraints)
    except BitlatheError as err:
        return str(err)


def _before(place: str) -> str:
    return f"{place}: " if place else ""


def parse_expression(
    text: str, known: Iterable[str] | None = None, place: str = "", *, condition: bool = False
) -> Expression:
    """Parse an expression over the keys of a point and its results.

    Parameters
    ----------
    text : str
        For example ``array.rows * array.columns <= 2048 and area_um2 < 2e6``. Numbers, strings,
        lists, ``+ - * / // % **``, comparisons, ``in``, ``and or not``, and the functions abs,
        ceil, floor, log2, max, min, sqrt.
    known : iterable of str, optional
        The keys that exist; others are refused with the nearest.
    place : str
        Where the text stands, ``file:line:column``; errors begin with it.
    condition : bool
        Whether it must be a yes or no. What a key holds is only known with a point: see
        `Expression.switches`.

    Raises
    ------
    BitlatheError
        Bad syntax, anything else that Python could do, an unknown key.

    Examples
    --------
    >>> parse_expression("array.rows * 2 > batch")({"array.rows": 8, "batch": 15})
    True
    """
    names: set[str] = set()
    switches: set[str] = set()
    try:
        tree = _parsed(text)
        step = _explained(text, lambda: _step(tree, names))
        if condition:
            _explained(text, lambda: _check_condition(tree, switches))
        keys = names if known is None else set(known)
        for name in sorted(names):
            if name not in keys and f"{name}.total" not in keys:
                raise _RefusedError(f"{text!r}: {_unknown(name, keys)}")
    except _RefusedError as err:
        raise BitlatheError(f"{_before(place)}{err}") from None
    return Expression(
        text=text,
        names=frozenset(names),
        step=step,
        place=place,
        switches=frozenset(switches),
    )


def _check_condition(node: ast.expr, switches: set[str]) -> None:
    """Refuse what can be no yes or no; collect the keys that must be one."""
    if isinstance(node, ast.BoolOp):
        for part in node.values:
            _check_condition(part, switches)
    elif isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not):
        _check_condition(node.operand, switches)
    elif isinstance(node, ast.Name) and node.id in _WORDS:
        pass
    elif isinstance(node, ast.Name | ast.Attribute):
        switches.add(_dotted(node))
    elif not isinstance(node, ast.Compare) and not (
        isinstance(node, ast.Constant) and isinstance(node.value, bool)
    ):
        raise _RefusedError(
            f"{ast.unparse(node)} is neither true nor false; compare it with something, as in "
            "array.rows <= 64"
        )


def _parsed(text: str) -> ast.expr:
    """Turn text into Python's tree of it."""
    if len(text) > MAX_LENGTH:
        raise _RefusedError(f"an expression of {len(text)} characters; write at most {MAX_LENGTH}.")

    def parse() -> ast.expr:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", SyntaxWarning)
            return ast.parse(text.strip(), mode="eval").body

    return _explained(text, parse)


def _explained(text: str, do: Callable[[], T]) -> T:
    """Do something with an expression; what is wrong with it gets its text before it."""
    try:
        return do()
    except SyntaxError as err:
        raise _RefusedError(
            f"{text!r} is no expression (column {err.offset}); write for example "
            "'array.rows * array.columns <= 2048'."
        ) from None
    except _RefusedError as err:
        raise _RefusedError(f"{text!r}: {err}.") from None
    except (RecursionError, MemoryError, ValueError):
        raise _RefusedError(f"{text[:60]!r}...: nested too deeply or not text.") from None
