"""The text of a Liberty file: groups, simple and complex attributes, functions of pins.

Liberty User Guides and Reference Manual Suite, volume 1 (Synopsys, 2017).
"""

import math
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from ...datatypes.base.errors import BitlatheError

TOKENS = re.compile(r'"([^"]*)"|([^\s{}():;,"]+)|([{}():;,])')
NO_TEXT = re.compile(r"/\*.*?\*/|//[^\n]*|\\\s*\n", re.S)


@dataclass(slots=True)
class Group:
    """A group of a file: ``kind (arguments) { ... }``, and the line where it begins."""

    kind: str
    arguments: tuple[str, ...]
    line: int = 1
    values: dict[str, tuple[str, ...]] = field(default_factory=dict)
    groups: list["Group"] = field(default_factory=list)

    def named(self, kind: str) -> Iterator["Group"]:
        """Yield the groups in it of a kind."""
        return (each for each in self.groups if each.kind == kind)

    def text(self, key: str, otherwise: str = "") -> str:
        """Return a simple attribute."""
        return self.values.get(key, (otherwise,))[0]

    @property
    def name(self) -> str:
        """Its first argument.

        Raises
        ------
        BitlatheError
            It has none.
        """
        if not self.arguments:
            raise BitlatheError(f"{self.place}: a name in the parentheses is missing")
        return self.arguments[0]

    @property
    def place(self) -> str:
        """The line where it begins, and its name, for errors."""
        return f"line {self.line}, {self.kind} ({', '.join(self.arguments)})"

    def number(self, key: str, otherwise: float = 0.0) -> float:
        """Return a number that is not negative.

        Raises
        ------
        BitlatheError
            The attribute is none.
        """
        text = self.text(key, str(otherwise))
        try:
            found = float(text)
        except ValueError:
            found = math.nan
        if not 0 <= found < math.inf:
            raise BitlatheError(
                f"{self.place}: {key} is {text!r}; a number that is not negative is right"
            )
        return found


class _Reader:
    """Reads tokens into groups; the innermost open one is last on the stack."""

    def __init__(self, tokens: list[str], lines: list[int]) -> None:
        self.tokens, self.lines, self.at = tokens, lines, 0
        self.top = Group("file", ())
        self.stack, self.words = [self.top], list[str]()

    @property
    def line(self) -> int:
        """The line of the token that was read last."""
        return self.lines[self.at - 1]

    def read(self) -> None:
        """Read all tokens."""
        steps = {"(": self._arguments, ":": self._value, "}": self._end}
        while self.at < len(self.tokens):
            token = self.tokens[self.at]
            self.at += 1
            if token in steps:
                steps[token]()
                self.words = []
            elif token not in (";", ",", "{", ")"):
                self.words.append(token)
        if len(self.stack) > 1:
            open_one = self.stack[-1]
            raise ValueError(f"group {open_one.kind!r} of line {open_one.line} does not end")

    def _arguments(self) -> None:
        """Read what stands in parentheses: of a group, or a complex attribute."""
        if not self.words:
            raise ValueError(f"line {self.line}: '(' without a name before it")
        try:
            end = self.tokens.index(")", self.at)
        except ValueError:
            raise ValueError(
                f"line {self.line}: '(' after {self.words[-1]!r} does not end"
            ) from None
        line = self.line
        inside = tuple(t for t in self.tokens[self.at : end] if t != ",")
        self.at = end + 1
        if self.tokens[self.at : self.at + 1] == ["{"]:
            group = Group(self.words[-1], inside, line)
            self.stack[-1].groups.append(group)
            self.stack.append(group)
            self.at += 1
        else:
            self.stack[-1].values[self.words[-1]] = inside

    def _value(self) -> None:
        """Read a simple attribute's value."""
        value: list[str] = []
        while self.at < len(self.tokens) and self.tokens[self.at] not in (";", "}"):
            value.append(self.tokens[self.at])
            self.at += 1
        if self.words:
            self.stack[-1].values[self.words[-1]] = (" ".join(value),)

    def _end(self) -> None:
        if len(self.stack) == 1:
            raise ValueError(f"line {self.line}: a '}}' too many")
        self.stack.pop()


def parse_group(text: str) -> Group:
    """Return the library group of a text.

    Raises
    ------
    ValueError
        What is wrong with it.
    """
    plain = NO_TEXT.sub(lambda found: " " + "\n" * found.group().count("\n"), text)
    tokens, lines, line, end = list[str](), list[int](), 1, 0
    for found in TOKENS.finditer(plain):
        line += plain.count("\n", end, found.start())
        end = found.start()
        tokens.append(found.group() if found.group(1) is None else found.group(1))
        lines.append(line)
    reader = _Reader(tokens, lines)
    reader.read()
    libraries = list(reader.top.named("library"))
    if len(libraries) != 1:
        raise ValueError("no group library (name) { ... } in it")
    return libraries[0]


Tree = tuple["str | Tree", ...]
"""A function: ('pin', name), ('not', tree), or ('and' | 'or' | 'xor', tree, tree)."""


def parse_function(text: str) -> Tree:
    """Return the tree of a boolean function of pins.

    ``!a`` and ``a'``, ``^``, then ``&``, ``*`` or nothing, then ``|`` or ``+``.

    Raises
    ------
    BitlatheError
        The text is no function.

    Examples
    --------
    >>> parse_function("!(A B)")
    ('not', ('and', ('pin', 'A'), ('pin', 'B')))
    """
    tokens = re.findall(r"[A-Za-z_]\w*(?:\[\d+\])?|[01]|[()!'^&*|+]", text)
    at = 0

    def peek() -> str:
        return tokens[at] if at < len(tokens) else ""

    def unary() -> Tree:
        nonlocal at
        token = peek()
        at += 1
        if token == "!":
            return ("not", unary())
        if token == "(":
            found = any_of()
            if peek() != ")":
                raise BitlatheError(f"function {text!r}: a ')' is missing")
            at += 1
        elif token and (token[0].isalnum() or token[0] == "_"):
            found = ("pin", token)
        else:
            raise BitlatheError(f"function {text!r}: {token or 'its end'} where a pin should be")
        while peek() == "'":
            at += 1
            found = ("not", found)
        return found

    def chain(name: str, marks: str, inner: Callable[[], Tree]) -> Tree:
        nonlocal at
        found = inner()
        while peek() and (peek() in marks or (name == "and" and peek() not in ")|+^'")):
            if peek() in marks:
                at += 1
            found = (name, found, inner())
        return found

    def xor_of() -> Tree:
        return chain("xor", "^", unary)

    def all_of() -> Tree:
        return chain("and", "&*", xor_of)

    def any_of() -> Tree:
        return chain("or", "|+", all_of)

    tree = any_of()
    if at < len(tokens):
        raise BitlatheError(f"function {text!r}: {tokens[at]!r} does not belong there")
    return tree
