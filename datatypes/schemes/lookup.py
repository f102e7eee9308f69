"""What a name stands for: an entry of the catalogue, a whole scheme, or a user's file."""

from ..formats.catalogue import element, entry, is_file
from ..formats.files import load_format
from ..formats.format import Format, Mixture
from .scheme import Scheme


def format(name: str) -> Format | Mixture | Scheme:
    """Return what a name stands for: a `Format`, a `Mixture` or, for whole schemes, a `Scheme`.

    Parameters
    ----------
    name : str
        A name of the catalogue, in capitals or not, or the path of a YAML file; see
        `formats.files`.

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
        return load_format(name.strip())
    if entry(name).preset:
        return Scheme.parse(name)
    return element(name)
