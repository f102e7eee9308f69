"""Figures of one process node at another, from 65 to 7 nm.

By the equations of A. Stillmaker and B. Baas, "Scaling equations for the accurate prediction of
CMOS device performance from 180 nm to 7 nm", Integration 58 (2017): areas by its table, energies
by its polynomials of the supply, here 0.8 V at both nodes (as AccelForge takes them). Between its
nodes the logarithm of a factor is linear in that of the node. Leakage follows the energy.
"""

from bisect import bisect_left
from math import exp, log
from typing import Literal

from ..datatypes.base.errors import BitlatheError

Figure = Literal["area", "energy"]
SUPPLY_V = 0.8
NODES_NM = (7, 10, 14, 16, 20, 32, 45, 65)
_AREAS = (1.0, 1.7, 2.9, 3.2, 3.6, 7.8, 17.0, 25.0)  # over that at 7 nm
_POLYNOMIALS = (
    (0.1776, -0.09097, 0.02447),
    (0.2068, -0.09311, 0.02375),
    (0.2363, -0.09675, 0.02239),
    (0.2958, -0.1241, 0.03024),
    (0.373, -0.1582, 0.04104),
    (0.9559, -0.7823, 0.471),
    (1.103, -0.362, 0.2767),
    (3.755, -4.398, 1.975),
)  # of the supply squared, the supply, and 1
_ENERGIES = tuple(a * SUPPLY_V**2 + b * SUPPLY_V + c for a, b, c in _POLYNOMIALS)


def _at(figure: Figure, node_nm: float) -> float:
    if not NODES_NM[0] <= node_nm <= NODES_NM[-1]:
        raise BitlatheError(
            f"technology.node_nm: {node_nm:g} nm; figures are scaled between {NODES_NM[0]} and "
            f"{NODES_NM[-1]} nm. Give figures of your own for others."
        )
    known = _AREAS if figure == "area" else _ENERGIES
    i = max(bisect_left(NODES_NM, node_nm), 1)
    low, high = NODES_NM[i - 1], NODES_NM[i]
    place = log(node_nm / low) / log(high / low)
    return exp((1 - place) * log(known[i - 1]) + place * log(known[i]))


def factor(figure: Figure, from_nm: float, to_nm: float) -> float:
    """Return what a figure of one node is multiplied by at another.

    Parameters
    ----------
    figure : {"area", "energy"}
        Leakage counts as energy.
    from_nm, to_nm : float
        Nodes in nm, 7 to 65.

    Raises
    ------
    BitlatheError
        A node is outside that range.

    Examples
    --------
    >>> round(factor("area", 45, 7), 3), round(factor("energy", 45, 7), 3)
    (0.059, 0.094)
    """
    return 1.0 if from_nm == to_nm else _at(figure, to_nm) / _at(figure, from_nm)
