"""Calibrate a language model's layers by a named method, into a folder: the one entry."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..datatypes.base.errors import BitlatheError, to_install
from ..datatypes.methods.calibrate import AnyScheme, Way
from .accuracy import CONTEXT, Progress
from .lm.checkpoint import Checkpoint, find_checkpoint
from .lm.choices import Budget, check_choices
from .lm.text import read_text

if TYPE_CHECKING:
    from .lm.calibration import Calibration

TOKENS = 2048


def calibrate_model(
    model: str | Path | Checkpoint,
    method: str,
    scheme: AnyScheme | list[AnyScheme] | tuple[AnyScheme, ...] = None,
    activation_scheme: AnyScheme = None,
    *,
    out: str | Path,
    tokens: int = TOKENS,
    context: int = CONTEXT,
    text: str | Path | None = None,
    options: Mapping[str, Any] | None = None,
    budget: "str | float | Budget | None" = None,
    progress: Progress | None = None,
) -> "Calibration":
    r"""Calibrate the linear layers of a language model's blocks, and write them to a folder.

    Parameters
    ----------
    model : str, Path or Checkpoint
        See `bitlathe.workloads.accuracy.accuracy`.
    method : str
        See `bitlathe.calibrate`.
    scheme, activation_scheme : str, Scheme, Format or Mixture, optional
        Of weights and inputs; by default the method's own. Several of weights, in a list, are
        choices: each layer takes one, within the budget.
    out : str or Path
        The folder: ``layers/NAME.safetensors``, ``calibration.json`` and a ``config.json`` that
        `load_model` reads. One that holds a part of the same calibration is gone on with.
    tokens, context : int
        At least so many tokens, in windows of so many, evenly spaced over the text.
    text : str or Path, optional
        A UTF-8 file; without it the help topics of the running Python. Where it is the text that
        `accuracy` measures on too, its default windows lie between these.
    options : mapping, optional
        Of the method.
    budget : str, float or workloads.lm.choices.Budget, optional
        What all calibrated layers together may store: bits a weight (2.5), or a size (``40MiB``).
        First each choice of each layer is measured on what enters it in the unquantized model; of
        ``bitstack`` these are its first blocks, from one to as many as its options say.
    progress : callable, optional
        ``progress(items, label)`` yields the items and may show how far it is.

    Returns
    -------
    Calibration

    Raises
    ------
    BitlatheError
        Raised if something asked for is wrong or missing, the folder holds another calibration, or
        a layer cannot be calibrated.
    """
    schemes = scheme if isinstance(scheme, list | tuple) else [scheme]
    if not schemes:
        raise BitlatheError("scheme: an empty list; give one, two or more, or None")
    ways = tuple(Way.of(method, options or {}, each, activation_scheme) for each in schemes)
    limit = budget if budget is None or isinstance(budget, Budget) else Budget(text=str(budget))
    check_choices(ways, limit)
    checkpoint = model if isinstance(model, Checkpoint) else find_checkpoint(model)
    words = read_text(text)
    try:
        from .lm.calibrate import Work, calibrate_decoder
    except ImportError:
        raise BitlatheError(f"calibration needs torch: {to_install('torch', 'accuracy')}") from None
    work = Work(
        checkpoint=checkpoint,
        ways=ways,
        budget=limit,
        text=words,
        tokens=tokens,
        context=context,
        folder=Path(out),
    )
    return calibrate_decoder(work, progress or (lambda items, _: items))
