"""What a name stands for: an entry of the catalogue, a whole scheme, or a user's file."""

from pathlib import Path

from ..formats.catalogue import element, entry, is_file
from ..formats.families import mixture_of_family, of_family
from ..formats.files import format_of
from ..formats.format import Format, Mixture
from .files import is_scheme, read_scheme_file
from .presets import PRESETS
from .scheme import Scheme


def format(name: str) -> Format | Mixture | Scheme:
    """Return what a name stands for: a `Format`, a `Mixture` or, for whole schemes, a `Scheme`.

    Parameters
    ----------
    name : str
        A name of the catalogue, of a family (`formats.families`) or of a block format
        (`schemes.presets`), in capitals or not, or the path of a YAML file; see `formats.files`.

    Raises
    ------
    BitlatheError
        Raised if the name is unknown, or the file does not describe a format.

    Examples
    --------
    >>> format("fp4_e2m1").max
    6.0
    """
    if is_file(name):
        document = read_scheme_file(name.strip())
        if is_scheme(document):
            return Scheme.parse(name)
        return format_of(document, Path(name.strip()).stem, name.strip())
    known = name.strip().lower() if isinstance(name, str) else ""
    if known in PRESETS:
        return Scheme.parse(known)
    if made := of_family(known) or mixture_of_family(known):
        return made
    if entry(name).preset:
        return Scheme.parse(name)
    return element(name)
