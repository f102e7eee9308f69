"""Product with weights looked up in a grid table, as a table-based GPU kernel computes it."""

from typing import Any

import numpy as np
import numpy.typing as npt

from ...datatypes.base.errors import BitlatheError
from ...datatypes.base.numbers import ceil_div, whole_number
from .operands import as_array, first_index, lies_there, on_cuda, refuse_nonfinite


def table_matmul(
    activations: npt.ArrayLike,
    codes: npt.ArrayLike,
    grids: npt.ArrayLike,
    scales: npt.ArrayLike,
    *,
    choices: npt.ArrayLike | None = None,
    group: int = 128,
    device: str = "cpu",
) -> npt.NDArray[np.float32]:
    """Dequantize through grid tables and multiply, one float32 partial sum per group.

    ``out[m, n] = sum_g scale[n, g] * sum_(k in g) a[m, k] * grid[choice[n, g], code[n, k]]``

    Each addition takes the unrounded product and rounds through float64 to float32, so that the
    same bits come from any device. A grid may have NaN for codes that stand for nothing; using
    one gives NaN.

    Parameters
    ----------
    activations : (M, K) array_like of float
        FP16, BF16 or float32 values, finite.
    codes : (N, K) array_like of int
        Codes of the weights.
    grids : (T,) or (members, T) array_like of float
        Values by code, one row per member of a mixture; rounded to float32.
    scales : (N, ceil(K / group)) array_like of float
        Scale of each group; rounded to float32.
    choices : (N, ceil(K / group)) array_like of int, optional
        Member of each group; 0 by default.
    group : int
        Weights per group along K; the last group may be short.
    device : {'cpu', 'cuda'}
        Where to compute. The GPU takes matrices that lie there as they are: float32 activations
        and scales, uint8 codes and choices.

    Returns
    -------
    (M, N) ndarray of float32
        On the GPU where activations, codes, scales and choices all lie there.

    Raises
    ------
    BitlatheError
        For shapes that do not match, codes or choices out of range, NaN or infinite activations or
        scales.

    Examples
    --------
    >>> table_matmul([[1.0, 2.0]], [[3, 1]], [0.0, 0.5, 1.0, 1.5], [[2.0]]).tolist()
    [[5.0]]
    """
    cuda = on_cuda(device)
    group = whole_number("group", group, 1)
    acts = _operand(activations, cuda, "activations")
    code: Any = codes if cuda and lies_there(codes) else as_array(codes, "codes")
    if len(acts.shape) != 2 or len(code.shape) != 2 or acts.shape[1] != code.shape[1]:
        raise BitlatheError(
            f"activations (M, K) and codes (N, K) are needed, got {tuple(acts.shape)} and "
            f"{tuple(code.shape)}"
        )
    grid = np.atleast_2d(_reals(grids, "grids"))
    shape = (code.shape[0], ceil_div(code.shape[1], group))
    scale = _operand(scales, cuda, "scales")
    picks: Any = np.zeros(shape, np.int64) if choices is None else choices
    picks = picks if cuda and lies_there(picks) else as_array(picks, "choices")
    if tuple(scale.shape) != shape or tuple(picks.shape) != shape:
        raise BitlatheError(
            f"scales and choices: shape {shape} is needed, one per group of {group}; got "
            f"{tuple(scale.shape)} and {tuple(picks.shape)}"
        )
    code = _indices(code, grid.shape[1], "codes")
    picks = _indices(picks, grid.shape[0], "choices")
    given = [each for each in (activations, codes, scales, choices) if each is not None]
    shape = acts.shape[0], code.shape[0]
    out: npt.NDArray[np.float32] = result(shape, np.float32, given)
    _runner(cuda)(acts, code, grid, picks, scale, group, out)
    return out


def result(shape: tuple[int, int], dtype: Any, given: list[Any]) -> Any:
    """Return room for a product: on the GPU where all operands lie there, else zeros on the host.

    Parameters
    ----------
    shape : (int, int)
    dtype : dtype
    given : list of (...) array
        The operands.
    """
    if all(map(lies_there, given)) and 0 not in (*shape, given[0].shape[1]):
        from ..cuda.given_kernels import room

        return room(shape, dtype)
    return np.zeros(shape, dtype)


def _operand(values: Any, cuda: bool, argument: str) -> Any:
    """Return a matrix of finite float32, where it lies."""
    if cuda and lies_there(values):
        from ..cuda.given_kernels import reals

        return reals(values, argument)
    array = np.ascontiguousarray(_reals(values, argument))
    refuse_nonfinite(array, argument)
    return array


def _reals(values: npt.ArrayLike, argument: str) -> npt.NDArray[np.float32]:
    array = as_array(values, argument)
    if array.size and array.dtype.kind not in "iuf" and array.dtype.name != "bfloat16":
        raise BitlatheError(f"{argument}: real numbers are needed, got {array.dtype}")
    return array.astype(np.float32)


def _indices(array: Any, count: int, argument: str) -> Any:
    if count > 256:
        raise BitlatheError(f"grids: at most 256 codes and members, got {count}")
    if lies_there(array):
        from ..cuda.given_kernels import codes

        return codes(array, count, argument)
    if array.size and array.dtype.kind not in "iu":
        raise BitlatheError(f"{argument}: integers are needed, got {array.dtype}")
    bad = (array < 0) | (array >= count)
    if bad.any():
        index = first_index(bad)
        raise BitlatheError(
            f"{argument}: {array[index]} at index {index} is out of range; 0..{count - 1} is right"
        )
    return np.ascontiguousarray(array.astype(np.uint8))


def _runner(cuda: bool) -> Any:
    if cuda:
        from ..cuda.dequantize_kernels import products as cuda_products

        return cuda_products
    from .dequantize_kernels import products

    return products
