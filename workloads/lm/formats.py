"""Which formats a decoder runs in: of weights, layer by layer, of activations, of keys and values.

A rule is ``[LAYERS:]NAME=SCHEME`` or ``LAYERS=SCHEME``: ``down_proj=int8@channel``,
``0,-1=int8@channel``, ``0-3:*_proj=none``. Numbers below 0 count from the last block; ``none``
leaves a layer as it is. Of rules that are about the same layer a later one goes ahead.
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Final

from ...datatypes.base.errors import BitlatheError, check_name, nearest
from ...datatypes.coding.given import refuse_unfit
from ...datatypes.schemes.scheme import Scheme

NONE: Final = "none"
ALONG: Final = ("token", "channel")
_INDEX = r"-?\d{1,6}"
_LAYERS = re.compile(rf"{_INDEX}(?:-\d{{1,6}})?(?:,{_INDEX}(?:-\d{{1,6}})?)*")
AnyText = str | Scheme | None


def scheme_or_none(text: AnyText) -> Scheme | None:
    """Return a scheme; None for None and ``none``."""
    return None if text is None or text == NONE else Scheme.parse(text)


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """A format of some layers.

    Attributes
    ----------
    text : str
        As it was given.
    name : str
        Part of a layer's name between dots, with ``*`` and ``?`` as of shells; ``*`` for all.
    layers : tuple of (int, int)
        First and last block of each range; none for all blocks.
    scheme : Scheme or None
        None leaves the layers as they are.
    """

    text: str
    name: str
    layers: tuple[tuple[int, int], ...]
    scheme: Scheme | None

    @classmethod
    def parse(cls, text: str) -> "Rule":
        """Read ``[LAYERS:]NAME=SCHEME`` or ``LAYERS=SCHEME``.

        Raises
        ------
        BitlatheError
            Raised if it is written otherwise, or the scheme is wrong.

        Examples
        --------
        >>> Rule.parse("0,-2--1:down_proj=none").layers
        Traceback (most recent call last):
            ...
        bitlathe.datatypes.base.errors.BitlatheError: rule '0,-2--1:down_proj=none': ...
        >>> Rule.parse("0-1,-1:down_proj=none").layers
        ((0, 1), (-1, -1))
        """
        where, equals, scheme = text.partition("=")
        numbers, colon, name = where.rpartition(":")
        if not colon and _LAYERS.fullmatch(where):
            numbers, name = where, "*"
        good = bool(re.fullmatch(r"[\w*?.]+", name)) and bool(scheme)
        if not equals or not good or (colon and not _LAYERS.fullmatch(numbers)):
            raise BitlatheError(
                f"rule {text!r}: write [LAYERS:]NAME=SCHEME, such as down_proj=int8@channel, "
                "0,-1=int8@channel or 0-3:q_proj=none"
            )
        return cls(
            text=text, name=name, layers=_ranges(numbers, text), scheme=scheme_or_none(scheme)
        )

    def holds(self, block: int, name: str, blocks: int) -> bool:
        """Return whether the rule is about a layer of a name in a block of so many."""
        if self.layers and not any(a % blocks <= block <= b % blocks for a, b in self.layers):
            return False
        return any(fnmatchcase(part, self.name) for part in (name, *name.split(".")))


def _ranges(numbers: str, text: str) -> tuple[tuple[int, int], ...]:
    found = []
    for part in numbers.split(",") if numbers else ():
        first, dash, last = part[1:].partition("-")
        ends = (int(part[:1] + first), int(last)) if dash else (int(part), int(part))
        if ends[0] > ends[1]:
            raise BitlatheError(f"rule {text!r}: layers {part} end before they begin")
        found.append(ends)
    return tuple(found)


@dataclass(frozen=True, slots=True, kw_only=True)
class Activations:
    """How the inputs of linear layers are rounded.

    Attributes
    ----------
    scheme : Scheme
        Groups run along the inputs of a token: ``@channel`` is one scale a token.
    static : bool
        Whether scales are those of the calibration tokens; needs a scale a tensor.
    percentile : float
        Of the magnitudes, of each token or, if static, of all calibration tokens, at which
        inputs are cut; 100 cuts nothing.
    """

    scheme: Scheme
    static: bool = False
    percentile: float = 100.0

    def __post_init__(self) -> None:
        if not 0 < self.percentile <= 100:
            raise BitlatheError(
                f"percentile: a number above 0, up to 100, is needed, got {self.percentile!r}"
            )
        size = self.scheme.granularity
        if self.static and (size.rows, size.columns) != (0, 0):
            raise BitlatheError(
                f"static activations have one scale a tensor, {self.scheme} has others; write "
                f"{self.scheme.name}@tensor"
            )
        if self.static:
            self._check_static()

    def _check_static(self) -> None:
        """Refuse formats whose scales cannot be fixed beforehand."""
        try:
            refuse_unfit(self.scheme, "static activations")
        except BitlatheError:
            why = "scales are found together with its codes"
        else:
            why = "it has no scales" if self.scheme.scale_format.kind == "none" else ""
        if why:
            raise BitlatheError(f"static activations need fixed scales, {self.scheme}: {why}")

    def __str__(self) -> str:
        cut = f" cut at {self.percentile:g} %" if self.percentile < 100 else ""
        return f"{self.scheme}{' static' if self.static else ''}{cut}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Cache:
    """How keys (after rotation) and values are rounded, head by head.

    Attributes
    ----------
    keys, values : Scheme or None
    keys_by, values_by : str
        ``token``: groups run along the elements of a token's head. ``channel``: they run along
        the tokens, so that each element of a head has scales of its own.
    """

    keys: Scheme | None
    values: Scheme | None
    keys_by: str = "token"
    values_by: str = "token"

    def __post_init__(self) -> None:
        check_name("grouping of keys", self.keys_by, ALONG)
        check_name("grouping of values", self.values_by, ALONG)

    def __str__(self) -> str:
        both = (("keys", self.keys, self.keys_by), ("values", self.values, self.values_by))
        return ", ".join(f"{what} {scheme} by {by}" for what, scheme, by in both if scheme)


@dataclass(frozen=True, slots=True, kw_only=True)
class Formats:
    """The formats of a run.

    Attributes
    ----------
    weights : Scheme or None
        Of all linear layers of the blocks that no rule is about.
    activations : Activations or None
    cache : Cache or None
    rules : tuple of Rule
        Of weights.
    """

    weights: Scheme | None
    activations: Activations | None = None
    cache: Cache | None = None
    rules: tuple[Rule, ...] = ()

    @classmethod
    def of(
        cls,
        weights: AnyText,
        activations: AnyText = None,
        keys: AnyText = None,
        values: AnyText = None,
        *,
        static: bool = False,
        percentile: float = 100.0,
        keys_by: str = "token",
        values_by: str = "token",
        rules: Sequence[str] = (),
    ) -> "Formats":
        """Read formats from texts.

        Parameters
        ----------
        weights, activations, keys, values : str, Scheme or None
            ``none`` and None leave them as they are.
        static, percentile
            See `Activations`.
        keys_by, values_by
            See `Cache`.
        rules : sequence of str
            See `Rule`.

        Raises
        ------
        BitlatheError
            Raised if one of them is wrong, or about something that is not quantized.
        """
        inputs, k, v = map(scheme_or_none, (activations, keys, values))
        if inputs is None and (static or percentile != 100):
            raise BitlatheError("static and percentile are of activations; give their scheme too")
        for what, scheme, by in (("keys", k, keys_by), ("values", v, values_by)):
            if scheme is None and by != "token":
                raise BitlatheError(f"{what} by {by}: give the scheme of {what} too")
        return cls(
            weights=scheme_or_none(weights),
            activations=None
            if inputs is None
            else Activations(scheme=inputs, static=static, percentile=percentile),
            cache=None
            if k is None and v is None
            else Cache(keys=k, values=v, keys_by=keys_by, values_by=values_by),
            rules=tuple(Rule.parse(rule) for rule in rules),
        )

    @property
    def plain(self) -> bool:
        """Whether only weights are quantized, all in one scheme."""
        return self.activations is None and self.cache is None and not self.rules

    @property
    def schemes(self) -> tuple[Scheme | None, ...]:
        """All schemes, in a fixed order."""
        cache = self.cache
        return (
            self.weights,
            None if self.activations is None else self.activations.scheme,
            None if cache is None else cache.keys,
            None if cache is None else cache.values,
            *(rule.scheme for rule in self.rules),
        )

    def __str__(self) -> str:
        weights = NONE if self.weights is None else str(self.weights)
        if self.plain:
            return weights
        parts = [f"weights {weights}", *(rule.text for rule in self.rules)]
        parts += [f"inputs {self.activations}"] if self.activations else []
        return "; ".join([*parts, *([str(self.cache)] if self.cache else [])])

    def by_layer(self, names: Iterable[tuple[int, str]]) -> dict[str, Scheme | None]:
        """Return the scheme of each layer's weights, by ``BLOCK.NAME``.

        Raises
        ------
        BitlatheError
            Raised if a rule is about no layer.
        """
        known = list(names)
        blocks = max(block for block, _ in known) + 1
        for rule in self.rules:
            _check_matches(rule, known, blocks)
        found: dict[str, Scheme | None] = {}
        for block, name in known:
            held = [rule for rule in self.rules if rule.holds(block, name, blocks)]
            found[f"{block}.{name}"] = held[-1].scheme if held else self.weights
        return found


def _check_matches(rule: Rule, known: list[tuple[int, str]], blocks: int) -> None:
    for first, last in rule.layers:
        if not (-blocks <= first < blocks and -blocks <= last < blocks):
            raise BitlatheError(f"rule {rule.text!r}: the model has blocks 0 to {blocks - 1}")
        if first % blocks > last % blocks:
            raise BitlatheError(
                f"rule {rule.text!r}: blocks {first % blocks} to {last % blocks} end before they "
                "begin"
            )
    if not any(rule.holds(block, name, blocks) for block, name in known):
        names = list(dict.fromkeys(name.rpartition(".")[2] for _, name in known))
        near = nearest(rule.name, names)
        hint = f"; did you mean {near[0]!r}?" if near else ";"
        raise BitlatheError(
            f"rule {rule.text!r}: no layer has that name{hint} its layers: {', '.join(names)}"
        )
