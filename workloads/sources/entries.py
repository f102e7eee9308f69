"""An entry of a list of products: the keys of a Gemm, or those of a convolution."""

from collections.abc import Collection, Mapping
from dataclasses import replace
from typing import Any

from ...datatypes.base.errors import BitlatheError, nearest, shown
from ..circles import Reads, why_not_earlier
from ..config import Config
from ..conv import conv_gemm
from ..conv_shape import ConvShape
from ..gemm import Gemm
from ..products import Entry

TOKENS = "tokens"
_SIZES = ("m", "n", "k")
_LEAST: Mapping[str, int] = {
    **dict.fromkeys(("batch", "sequences", "count", "rows_per_token"), 1),
    **dict.fromkeys(("window", "input_elements"), 1),
    **dict.fromkeys(("visible_before", "keys", "values"), 0),
}
_WORDS = ("kind", "stationary", "causal")
_COMMON = ("name", "from", "count")
# a convolution as deep-learning libraries write it: n images of c x h x w, k filters of r x s
_CONV_SIZES = ("c", "h", "w", "k", "r", "s")
_CONV_ONLY = ("c", "h", "w", "r", "s", "stride", "padding", "dilation", "groups")
_LAYERS = "layers"
PRODUCT_KEYS = (*_COMMON, _LAYERS, *_SIZES, *(k for k in _LEAST if k != "count"), *_WORDS)
CONV_KEYS = (*_COMMON, "n", "k", *_CONV_ONLY)


def read_entry(
    entry: Config, place: int, earlier: Collection[str], reads: Reads | None = None
) -> Entry:
    """Read an entry: a product by its m, n and k, or a convolution by its c, h, w, k, r and s.

    Parameters
    ----------
    entry : Config
        Its keys.
    place : int
        Its place in the list, from 0, by which it is named if it has no name.
    earlier : collection of str
        Names of the entries before it, which ``from`` may name.
    reads : mapping of str to sequence of str, optional
        What each entry of the list names there.

    Raises
    ------
    BitlatheError
        Raised if a key is unknown or missing, or a size is impossible; the place is named.
    """
    is_conv = any(key in entry.data for key in _CONV_ONLY)
    _check_keys(entry, CONV_KEYS if is_conv else PRODUCT_KEYS)
    name = entry.string("name") if entry.get("name") is not None else f"layer{place}"
    inputs = _sources(entry, name, earlier, reads or {})
    by_token = not is_conv and entry.get("m") == TOKENS
    try:
        gemm = _convolution(entry, name) if is_conv else _product(entry, name, by_token)
    except BitlatheError as error:
        if str(error).startswith(entry.source):
            raise
        raise entry.error(str(error)) from None
    return Entry(gemm=gemm, inputs=inputs, by_token=by_token)


def _check_keys(entry: Config, known: tuple[str, ...]) -> None:
    both = [key for key in ("m",) if key in entry.data and known is CONV_KEYS]
    if both:
        raise entry.error(
            "'m' belongs to a product, but this entry is a convolution, whose rows follow from h, "
            "w and the filter. Give m, n and k, or c, h, w, k, r and s.",
            "m",
        )
    for key in entry.data:
        if key not in known:
            near = nearest(str(key), known, limit=1)
            hint = f"Did you mean {near[0]!r}?" if near else f"Known: {', '.join(known)}."
            what = "convolution" if known is CONV_KEYS else "product"
            raise entry.error(f"unknown key {shown(key)} of a {what}. {hint}", str(key))


def _sources(entry: Config, own: str, earlier: Collection[str], reads: Reads) -> tuple[str, ...]:
    given = entry.get("from")
    names = [] if given is None else given if isinstance(given, list) else [given]
    for name in names:
        if not isinstance(name, str) or name not in earlier:
            near = nearest(str(name), earlier, limit=1)
            hint = f"Did you mean {near[0]!r}?" if near else "No product has that name."
            unknown = f", not an earlier product. {hint}"
            why = why_not_earlier(str(name), own, reads) or unknown
            raise entry.error(f"'from' names {shown(name)}{why}", "from")
    return tuple(names)


def _product(entry: Config, name: str, by_token: bool) -> Gemm:
    sizes: dict[str, Any] = {
        key: entry.integer(key) for key in _SIZES if not (by_token and key == "m")
    }
    given: dict[str, Any] = {
        key: entry.integer(key, least=least)
        for key, least in _LEAST.items()
        if entry.get(key) is not None
    }
    given |= {key: entry.string(key) for key in _WORDS if entry.get(key) is not None}
    if entry.get(_LAYERS) is not None:
        given[_LAYERS] = _numbers(entry)
    gemm = Gemm(name=name, **({"m": 1} | sizes | given))
    if by_token and (gemm.stationary != "weight" or gemm.causal is not None):
        raise entry.error(
            "'m' is 'tokens', which is for products with weights; state the rows of attention.", "m"
        )
    return gemm


def _numbers(entry: Config) -> tuple[int, ...]:
    """Return the numbers of the layers that a product stands for."""
    numbers = entry.get(_LAYERS)
    listed = isinstance(numbers, list | tuple)
    if not listed or not all(type(number) is int and number >= 0 for number in numbers):
        raise entry.error(
            f"'{_LAYERS}' are numbers of layers, from 0; give whole numbers, as [0, 1].", _LAYERS
        )
    return tuple(numbers)


def _convolution(entry: Config, name: str) -> Gemm:
    c, h, w, k, r, s = (entry.integer(key) for key in _CONV_SIZES)
    shape = ConvShape(
        in_channels=c,
        out_channels=k,
        size=(h, w),
        kernel=(r, s),
        stride=pair(entry, "stride", 1),
        padding=pair(entry, "padding", 0, least=0),
        dilation=pair(entry, "dilation", 1),
        groups=entry.integer("groups", default=1),
    )
    gemm = conv_gemm(shape, name, entry.integer("n", default=1))
    return replace(gemm, count=entry.integer("count", default=1))


def pair(entry: Config, key: str, default: int, least: int = 1) -> tuple[int, int]:
    """Read one integer for both axes, or a list of two, [height, width].

    Parameters
    ----------
    entry : Config
    key : str
    default : int
        Of both axes, where the key is left out.
    least : int
        The smallest value allowed.

    Raises
    ------
    BitlatheError
        Raised if the value is neither, or below ``least``.
    """
    value = entry.get(key)
    if not isinstance(value, list):
        one = entry.integer(key, default=default, least=least)
        return one, one
    if len(value) != 2 or any(type(part) is not int or part < least for part in value):
        raise entry.error(
            f"{key!r} is {shown(value)}; give one integer or two [height, width], each at least "
            f"{least}.",
            key,
        )
    return value[0], value[1]
