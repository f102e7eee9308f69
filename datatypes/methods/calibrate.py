"""One call for every method: `calibrate` checks, runs the method, takes the best layer."""

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Any

from ..base.errors import BitlatheError, check_name, unknown_name
from ..formats.format import Format, Mixture
from ..quantize import quantize
from ..schemes.scheme import Scheme
from .layer import QuantizedLinear, measured, rounded
from .table import METHODS, Method
from .task import Task

NO_SCHEME = "none"  # of inputs that are not quantized
AnyScheme = str | Scheme | Format | Mixture | None


def calibrate(
    weights: Any,
    activations: Any,
    method: str,
    scheme: AnyScheme = None,
    activation_scheme: AnyScheme = None,
    **options: Any,
) -> QuantizedLinear:
    """Quantize the weights of a linear layer by a named method, on inputs that it meets.

    Plain rounding in the scheme is among what is compared, so that the outputs on these inputs are
    never worse than its own; `QuantizedLinear.chosen` says ``rtn`` where it was best. Of methods
    that trade bits or have codes of their own (see `datatypes.methods.table.Method`) it is only a
    measure.

    Parameters
    ----------
    weights : (outputs, inputs) array_like or torch tensor
    activations : (..., inputs) array_like or torch tensor
        Inputs of the layer.
    method : str
        Key of `datatypes.methods.table.METHODS`.
    scheme : str, Scheme, Format or Mixture, optional
        Of the weights, see `quantize`; by default the method's own.
    activation_scheme : str, Scheme, Format or Mixture, optional
        Of the inputs, such as ``int8@channel`` for one scale a token; ``none`` for inputs as they
        are. By default the method's own.
    **options
        Of the method; see its options in `datatypes.methods.table.METHODS`.

    Returns
    -------
    QuantizedLinear

    Raises
    ------
    BitlatheError
        Raised if the method or an option is unknown, the method does not go with the scheme, or
        the weights and inputs do not go together.

    Examples
    --------
    >>> import numpy as np
    >>> random = np.random.default_rng(0)
    >>> w, x = random.normal(size=(8, 32)), random.normal(size=(64, 32))
    >>> layer = calibrate(w, x, "gptq", "int3@g32")
    >>> layer.relative_error < layer.rounded_error
    True
    """
    way = Way.of(method, options, scheme, activation_scheme)
    return way.layer(weights, activations)


@dataclass(frozen=True, slots=True, kw_only=True)
class Way:
    """A method with its options and schemes, checked before there is a layer.

    Attributes
    ----------
    method : Method
    options : object
        Of the method.
    scheme : Scheme
        Of weights.
    activation_scheme : Scheme or None
        Of inputs.
    """

    method: Method
    options: Any
    scheme: Scheme
    activation_scheme: Scheme | None

    @classmethod
    def of(
        cls,
        method: str,
        options: Mapping[str, Any],
        scheme: AnyScheme = None,
        activation_scheme: AnyScheme = None,
    ) -> "Way":
        """Read what a user asks for.

        Parameters
        ----------
        method, options, scheme, activation_scheme
            See `calibrate`.

        Raises
        ------
        BitlatheError
            Raised if the method or an option is unknown, or the method does not go with the scheme.
        """
        check_name("method", method, METHODS)
        row = METHODS[method]
        chosen = _options(row, options)
        parsed = Scheme.parse(row.scheme if scheme is None else scheme)
        if why := row.misfit(parsed):
            raise BitlatheError(f"{method} does not go with {parsed}: {why}")
        own = row.activation_scheme if activation_scheme is None else activation_scheme
        inputs = None if own == NO_SCHEME else Scheme.parse(own)
        return cls(method=row, options=chosen, scheme=parsed, activation_scheme=inputs)

    def layer(self, weights: Any, activations: Any) -> QuantizedLinear:
        """Return (outputs, inputs) weights quantized on (..., inputs) inputs; see `calibrate`."""
        task = Task.of(weights, activations, self.scheme, self.activation_scheme)
        plain = measured(replace(rounded(task), method=self.method.name), task)
        free = self.method.own_codes or self.method.trades_bits
        best: QuantizedLinear | None = None if free else plain
        for found in self.method.find(task, self.options):
            layer = measured(found, task)
            if best is None or layer.relative_error < best.relative_error:
                best = layer
        assert best is not None
        return replace(best, rounded_error=plain.relative_error)

    def again(self, layer: QuantizedLinear, weights: Any, activations: Any) -> QuantizedLinear:
        """Return a layer with its error on (..., inputs) inputs of (outputs, inputs) weights."""
        return measured(layer, Task.of(weights, activations, self.scheme, self.activation_scheme))

    def silent(self, weights: Any) -> QuantizedLinear:
        """Return (outputs, inputs) weights rounded, of a layer whose outputs are all 0.

        There is nothing to calibrate on: neither method nor inputs matter, and no output errs.
        """
        return QuantizedLinear(
            method=self.method.name,
            chosen="rtn",
            weights=quantize(weights, self.scheme),
            activation_scheme=self.activation_scheme,
            relative_error=0.0,
            rounded_error=0.0,
        )


def _options(row: Method, given: Mapping[str, Any]) -> Any:
    """Return the options of a method, or refuse those that it does not have."""
    known = [field.name for field in fields(row.options)]
    for name in given:
        if name not in known:
            hint = "it has none" if not known else unknown_name("option", name, known)
            raise BitlatheError(f"{row.name}: option {name!r}: {hint}")
    return row.options(**given)
