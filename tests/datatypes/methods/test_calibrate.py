"""`calibrate`: what every method keeps, and what is refused."""

from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from bitlathe.datatypes.base.errors import BitlatheError
from bitlathe.datatypes.methods.calibrate import calibrate
from bitlathe.datatypes.methods.table import METHODS
from bitlathe.datatypes.quantize import quantize
from bitlathe.datatypes.schemes.scheme import Scheme
from naive import methods_naive as naive

SCHEMES = (
    "int3@g16",
    "int4_asym@g16/int8",
    "bitmod_fp3@g16/int8",
    "mxfp4",
    "fp8_e4m3@channel",
    "bcq2@g16/pot2",
    "kmeans3@g16",
    "dgq4@g16",
    "olive4@channel",
    "int4@b4x8",
    "int4@g7",
    "int3@input",
    "fp4_e2m1@g16/m2",
    "fp4_e2m1@g16/pot_ceil",
)
YEAR = (  # blocks of 256 inputs at most
    "razer", "nvfp4_4over6", "nvif4", "hif4", "m2xfp", "mxfp4_plus",
    "q2_k", "q3_k", "q4_0", "q4_k", "q6_k", "iq4_nl",
)  # fmt: skip
# whose layers are in another scheme than the one that is asked for: turned groups, bent grids, ...
OTHER_SCHEMES = ("adadim", "finequant", "nupes", "compander", "llm_fp4")
TOKENS, OUTPUTS, INPUTS = 40, 8, 32


def layer(seed=0, outlier=20.0):
    """Return weights and correlated inputs with one large column."""
    random = np.random.default_rng(seed)
    x = random.normal(size=(TOKENS, INPUTS)) @ random.normal(size=(INPUTS, INPUTS)) / 6
    x[:, 5] *= outlier
    return random.normal(size=(OUTPUTS, INPUTS)).astype(np.float32), x


def goes(method, scheme):
    return not METHODS[method].misfit(Scheme.parse(scheme))


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("method", METHODS)
def test_never_worse_than_plain_rounding_in_the_outputs(method, scheme):
    w, x = layer()
    if not goes(method, scheme):
        with pytest.raises(BitlatheError, match=f"{method} does not go with"):
            calibrate(w, x, method, scheme)
        return
    own = METHODS[method].activation_scheme
    found = calibrate(w, x, method, scheme)
    inputs = x if own == "none" else quantize(x, own).dequantize(np.float64)
    plain = inputs @ quantize(w, scheme).dequantize(np.float64).T
    exact = x @ w.astype(np.float64).T
    energy = np.square(exact).sum()
    assert found.rounded_error == pytest.approx(np.square(plain - exact).sum() / energy)
    error = np.square(found.forward(x) - exact).sum() / energy
    assert error == pytest.approx(found.relative_error)
    row = METHODS[method]
    assert error <= found.rounded_error or row.own_codes or row.trades_bits
    if not row.own_codes and method not in OTHER_SCHEMES:
        assert str(found.tensor.scheme) == str(Scheme.parse(scheme))
    assert (found.inputs, found.outputs) == (INPUTS, OUTPUTS)
    if own == "none":
        assert x @ found.dequantize().T == pytest.approx(found.forward(x), rel=1e-9, abs=1e-9)


FEW = {
    "lq_lora": {"rounds": 1, "rank": 2},
    "awq": {"alphas": (0, 0.5), "clips": (1, 0.8)},
    "smoothquant": {"alphas": (0.5,)},
}


@pytest.mark.parametrize("scheme", YEAR)
def test_formats_of_the_year_go_with_methods_too(scheme):
    random = np.random.default_rng(3)
    w, x = random.normal(size=(2, 256)).astype(np.float32), random.normal(size=(24, 256))
    x[:, 5] *= 20
    for method, row in METHODS.items():
        if row.own_codes:
            continue
        if not goes(method, scheme):
            with pytest.raises(BitlatheError, match=f"{method} does not go with"):
                calibrate(w, x, method, scheme)
            continue
        found = calibrate(w, x, method, scheme, activation_scheme="none", **FEW.get(method, {}))
        assert found.relative_error <= found.rounded_error or row.trades_bits
        if method not in OTHER_SCHEMES:
            assert str(found.tensor.scheme) == str(Scheme.parse(scheme))


def test_the_page_says_which_schemes_each_method_refuses():
    page = (Path(__file__).parents[3] / "docs" / "methods.md").read_text(encoding="utf-8")
    for scheme in (*SCHEMES, *YEAR):
        refused = [f"`{m}`" for m in METHODS if not goes(m, scheme)]
        assert f"| `{scheme}` | {', '.join(refused)} |" in page


@pytest.mark.parametrize(
    ("method", "scheme", "inputs"),
    [
        ("gptq", "int4@g16", "none"),
        ("awq", "int4@g16", "none"),
        ("smoothquant", "int8@channel", "int8@channel"),
        ("hadamard", "int6@channel", "int6@channel"),
        ("orthogonal", "int6@channel", "int6@channel"),
        ("llm_int8", "int8@channel", "int8@channel"),
        ("dgq", "dgq4@g16", "int6@channel"),
        ("zeroquant_fp", "fp4_e2m1@g16/m2", "fp8_e4m3@channel"),
        ("shiftadd", "bcq2@g16/pot3", "none"),
        ("llm_fp4", "fp4_e2m1@channel", "fp4_e2m1@tensor"),
        ("lq_lora", "int4@g16", "none"),
        ("vptq", "int2_asym@g16", "none"),
        ("any4", "int4_asym@g16", "none"),
        ("jlcm", "int4_asym@g16", "none"),
        ("spqr", "uint3@g16/fp16~fp16", "none"),
        ("bitstack", "int4@g16", "none"),
    ],
)
def test_much_better_where_inputs_have_outliers(method, scheme, inputs):
    found = calibrate(*layer(), method, scheme, activation_scheme=inputs)
    assert found.chosen != "rtn"
    assert found.relative_error < 0.7 * found.rounded_error


def test_every_method_is_among_those_that_pay_where_inputs_have_outliers():
    mark = test_much_better_where_inputs_have_outliers.pytestmark[0]
    of_weights_alone = {"rtn", "adadim", "easyquant", "finequant", "nupes", "compander"}
    assert {row[0] for row in mark.args[1]} == set(METHODS) - of_weights_alone


def test_forward_is_the_sum_of_fractions_where_scales_are_powers_of_two():
    w, _ = layer()
    x = np.random.default_rng(1).integers(-127, 128, (6, INPUTS)) / 16
    found = calibrate(w, x, "gptq", "int4@g16/pot")
    values = found.weights.dequantize(np.float64)
    assert found.forward(x).tolist() == [
        [float(v) for v in row] for row in naive.product(x, values)
    ]


def test_forward_of_integers_is_the_integer_product_times_its_scales():
    w, x = layer(outlier=1.0)
    found = calibrate(w, x, "gptq", "int4@channel", activation_scheme="int8@channel")
    given = quantize(x, "int8@channel")
    codes = [
        np.array([[int(f.values[c]) for c in row] for row in q.codes])
        for q, f in (
            (given, given.scheme.formats[0]),
            (found.weights, found.weights.scheme.formats[0]),
        )
    ]
    whole = codes[0].astype(np.int64) @ codes[1].astype(np.int64).T
    for t in range(3):
        for n in range(OUTPUTS):
            scale = Fraction(float(given.scales[t, 0])) * Fraction(
                float(found.weights.scales[n, 0])
            )
            exact = float(int(whole[t, n]) * scale)
            assert found.forward(x)[t, n] == pytest.approx(exact, rel=1e-12)


def spoilt(how):
    """Return a layer's weights and inputs with one thing wrong."""
    w, x = layer()
    if how == "zero groups":
        w[:, :16] = 0
    elif how == "a zero output":
        w[3] = 0
    elif how == "constant weights":
        w[:] = 1
    elif how == "zero weights":
        w[:] = 0
    elif how == "constant channel":
        x[:, 20] = 3
    elif how == "constant inputs":
        x[:] = 3
    elif how == "zero channels":
        x[:, :16] = 0
    elif how == "zero inputs":
        x[:] = 0
    elif how == "twin channels":
        x[:, 1::2] = x[:, ::2]
    elif how == "rank one":
        x = np.outer(x[:, 0], np.linspace(-1, 2, INPUTS))
    elif how == "fewer tokens than inputs":
        x = x[:3]
    elif how == "one token":
        x = x[:1]
    else:
        raise KeyError(how)
    return w, x


SPOILT = (
    "zero groups", "a zero output", "constant weights", "constant channel", "constant inputs",
    "zero channels", "twin channels", "rank one", "fewer tokens than inputs", "one token",
)  # fmt: skip
QUICK = {"lq_lora": {"rank": 2, "rounds": 3}, "llm_fp4": {"rounds": 1}, "vptq": {"entries": 8}}


@pytest.mark.parametrize("how", SPOILT)
@pytest.mark.parametrize("method", METHODS)
@pytest.mark.filterwarnings("error")
def test_layers_with_little_to_go_by_are_calibrated(method, how):
    """Every method, every flaw: finite, no worse than rounding, and the same on new inputs."""
    w, x = spoilt(how)
    found = calibrate(w, x, method, **QUICK.get(method, {}))
    free = METHODS[method].own_codes or METHODS[method].trades_bits
    assert np.isfinite(found.relative_error)
    assert found.relative_error <= found.rounded_error or free
    fresh = np.random.default_rng(9).normal(size=(4, INPUTS))
    assert np.isfinite(found.forward(fresh)).all()
    if METHODS[method].activation_scheme == "none":
        assert fresh @ found.dequantize().T == pytest.approx(found.forward(fresh), abs=1e-9)


@pytest.mark.parametrize("how", ["zero weights", "zero inputs"])
@pytest.mark.parametrize("method", METHODS)
def test_layers_with_nothing_to_go_by_are_refused(method, how):
    with pytest.raises(BitlatheError, match="activations: the layer's outputs on them are all 0"):
        calibrate(*spoilt(how), method)


def test_tokens_that_do_not_tell_inputs_apart_need_damping():
    """Of each method that inverts a Hessian."""
    damped = {m for m, row in METHODS.items() if "damping" in row.options.__dataclass_fields__}
    assert damped == {"gptq", "zeroquant_fp", "shiftadd", "spqr", "vptq"}
    for method in damped:
        for how in ("rank one", "zero channels", "fewer tokens than inputs"):
            said = (
                r"activations: \d+ tokens do not tell 32 inputs apart .*pass more tokens, or a damp"
            )
            with pytest.raises(BitlatheError, match=said) as problem:
                calibrate(*spoilt(how), method, damping=0)
            assert "\n" not in str(problem.value)


def test_operations_and_bits_are_counted():
    w, x = layer()
    found = calibrate(w, x, "awq", "int4@g16")
    assert found.total_bits == found.weights.total_bits == OUTPUTS * INPUTS * 4 + 16 * 16
    assert found.bits_per_element == 5.0
    assert found.operations.products == OUTPUTS * INPUTS
    assert found.operations.input_multiplies == INPUTS
    assert found.transform_bits == 32 * INPUTS


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"method": "gtpq"}, "unknown method 'gtpq'; did you mean 'gptq'"),
        ({"method": "squeezellm"}, "unknown method 'squeezellm'"),
        ({"scheme": "olive4@channel"}, "gptq does not go with olive4"),
        ({"scheme": "fp16"}, "gptq does not go with fp16: it takes codes of at most 8 bits"),
        ({"weights": np.ones(3)}, "weights: a matrix of shape"),
        ({"weights": np.full((8, 32), np.nan)}, "weights: "),
        ({"activations": np.ones((4, 31))}, r"activations: an array of shape \(tokens, 32\)"),
        ({"activations": np.ones((0, 32))}, "of 1 token or more"),
        ({"activations": np.full((4, 32), np.inf)}, "activations: "),
        ({"activations": np.zeros((4, 32))}, "outputs on them are all 0"),
        (
            {"method": "dgq", "scheme": "dgq4", "activations": np.full((4, 32), 1e30)},
            "inputs in int8",
        ),
        ({"damping": -1}, "damping: a number from 0 to 1"),
        ({"damping": True}, "damping: a number from 0 to 1"),
        ({"act_order": 1}, "act_order: True or False"),
        ({"dampin": 0.1}, "gptq: option 'dampin': unknown option 'dampin'; did you mean 'damping'"),
        ({"method": "rtn", "damping": 0.1}, "rtn: option 'damping': it has none"),
        ({"method": "awq", "alphas": ()}, "alphas: numbers from 0 to 1"),
        ({"method": "awq", "alphas": 0.5}, "alphas: numbers from 0 to 1"),
        ({"method": "awq", "clips": (2,)}, "clips: a number from 0 to 1"),
    ],
)
def test_bad_input_is_one_sentence(change, said):
    w, x = layer()
    given = {"weights": w, "activations": x, "method": "gptq", "scheme": "int4@g16"} | change
    with pytest.raises(BitlatheError, match=said) as problem:
        calibrate(**given)
    assert "\n" not in str(problem.value)
