"""Public docstrings: shapes of arrays, parameters of long signatures, what is raised.

Kernels are told by the functions that dispatch to them and are left out, as are commands, whose
help click prints.
"""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import bitlathe

ROOT = Path(bitlathe.__file__).resolve().parent
ROOMS = ("arch", "datatypes", "mapping", "reports", "sim", "workloads")
ARRAY = re.compile(r"\b(NDArray|ArrayLike|Floats|Codes)\b")
SHAPE = re.compile(r"\([\w.*+ ]*(, ?[\w.*+ ]*)*\)")
MOST_PLAIN = 3  # arguments that a sentence can tell

Function = tuple[str, ast.FunctionDef]


def public(body: list[ast.stmt], where: str) -> Iterator[Function]:
    """Yield the public functions and methods of a module, each with its place."""
    for node in body:
        if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
            yield from public(node.body, f"{where}.{node.name}")
        if isinstance(node, ast.FunctionDef) and not node.name.startswith("_"):
            marks = {ast.unparse(each) for each in node.decorator_list}
            if "overload" not in marks:
                yield f"{where}.{node.name}", node


def functions() -> Iterator[Function]:
    """Yield the public functions of the package but its kernels."""
    for room in ROOMS:
        for path in sorted((ROOT / room).rglob("*.py")):
            place = path.relative_to(ROOT)
            if "kernels" not in str(place):
                tree = ast.parse(path.read_text(encoding="utf-8"))
                yield from public(tree.body, str(place.with_suffix("")))


def arguments(node: ast.FunctionDef) -> list[ast.arg]:
    """Return a function's arguments, ``self`` and ``cls`` left out."""
    given = node.args
    every = [*given.posonlyargs, *given.args, *given.kwonlyargs]
    return [each for each in every if each.arg not in ("self", "cls")]


def lacks(node: ast.FunctionDef) -> Iterator[str]:
    """Yield what a function's docstring does not say."""
    text = ast.get_docstring(node) or ""
    given = arguments(node)
    if not text:
        yield "a docstring"
    if len(given) > MOST_PLAIN and "Parameters\n---" not in text:
        yield "Parameters"
    raised = any(isinstance(each, ast.Raise) and each.exc for each in ast.walk(node))
    if raised and "Raises\n---" not in text:
        yield "Raises"
    arrays = any(each.annotation and ARRAY.search(ast.unparse(each.annotation)) for each in given)
    if arrays and not SHAPE.search(text):
        yield "shapes"


def test_public_functions_say_shapes_parameters_and_errors():
    missing = [f"{place}: {what}" for place, node in functions() for what in lacks(node)]
    assert not missing, f"{len(missing)} docstrings lack something:\n" + "\n".join(missing)


def test_the_check_sees_what_is_missing():
    code = '''
def f(a, b, c, d: NDArray):
    """Do."""
    raise ValueError("no")
def g(x: ArrayLike):
    """Return (N, K) values."""
'''
    found = [list(lacks(node)) for _, node in public(ast.parse(code).body, "here")]
    assert found == [["Parameters", "Raises", "shapes"], []]


def test_many_functions_are_looked_at():
    assert sum(1 for _ in functions()) > 500
