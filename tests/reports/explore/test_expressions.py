"""Expressions of sweep files: right values, and nothing else that Python could do."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bitlathe.datatypes.base.errors import BitlatheError
from bitlathe.reports.explore.expressions import parse_expression, verdict

VALUES = {"array.rows": 8, "batch": 3, "model": "opt-1.3b", "energy_pj.total": 7.5}


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("array.rows * 2 + 1", 17),
        ("array.rows // 3 % 2 == 0", True),
        ("2 < batch <= 3", True),
        ("2 < batch < 3", False),
        ("model == 'opt-1.3b' and not batch > 3", True),
        ("model in ['phi-2', 'opt-1.3b'] or 1 / 0", True),
        ("model not in ('phi-2',)", True),
        ("energy_pj < 8", True),
        ("energy_pj.total - -1", 8.5),
        ("min(array.rows, batch, 5) ** 2", 9.0),
        ("log2(array.rows) + sqrt(4) + ceil(.5) + floor(1.5) + abs(-1)", 8.0),
    ],
)
def test_values(text, value):
    assert parse_expression(text, VALUES)(VALUES) == value


@pytest.mark.parametrize(
    "text",
    [
        "__import__('os').system('true')",
        "().__class__.__bases__",
        "(1).real",
        "[x for x in (1, 2)]",
        "lambda: 1",
        "batch if batch else 1",
        "f'{batch}'",
        "open('/etc/passwd')",
        "max(batch, key=abs)",
        "abs()",
        "batch[0]",
        "batch := 2",
        "{'a': 1}",
        "batch is 3",
        "~batch",
        "1 << 99",
        "a" * 1001,
        "(" * 400 + "1" + ")" * 400,
        "-" * 990 + "1",
        "1 +",
        "import os",
        "\0",
        "",
        "None",
        "b'x'",
        "1j",
    ],
)
def test_refused(text):
    with pytest.raises(BitlatheError):
        parse_expression(text, VALUES)(VALUES)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("9 ** 9 ** 9", "exponent 387420489 is beyond 64"),
        ("batch ** 65", "exponent 65 is beyond 64"),
        ("2.0 ** 64 ** 2", "exponent 4096 is beyond 64"),
        ("(batch * 10 ** 60) ** 64", "the result of ** is too large or no real number"),
        ("10.0 ** 64 * 10.0 ** 64 * 10.0 ** 64 * 10.0 ** 64 * 10.0 ** 64",
         "the result of * is too large or no real number"),
        ("(-batch) ** 0.5 < 1", "the result of ** is too large or no real number"),
        ("model * 10", "'opt-1.3b' is no number"),
        ("model + 'x'", "'opt-1.3b' is no number"),
        ("max(model, 1)", "'opt-1.3b' is no number"),
        ("min([batch])", "[3] is no number"),
        ("1 / (batch - 3)", "division by zero"),
        ("batch % 0 == 1", "division by zero"),
        ("batch // 0.0", "division by zero"),
        ("model < 3", "'opt-1.3b' is no number"),
        ("log2(0)", "log2 of 0 is no number"),
        ("sqrt(-1)", "sqrt of -1 is no number"),
        ("batch in 3", "'in' needs a list, not 3"),
        ("(batch > 2) > 1", "True is no number"),
    ],
)  # fmt: skip
def test_bad_values_are_user_errors_in_plain_words(text, why):
    expression = parse_expression(text, VALUES, "s.yaml:3:1")
    with pytest.raises(BitlatheError) as caught:
        expression(VALUES)
    assert str(caught.value) == f"s.yaml:3:1: {text!r}: {why}."
    assert verdict([expression], VALUES) == str(caught.value)


def test_verdicts_stop_at_the_first_constraint_that_is_not_met():
    small, broken = parse_expression("batch < 2"), parse_expression("1 / 0 > batch")
    assert verdict([small, broken], VALUES) is False
    assert verdict([broken, small], VALUES) == "'1 / 0 > batch': division by zero."
    assert verdict([], VALUES) is True


def test_unknown_key_names_the_nearest():
    with pytest.raises(BitlatheError, match=r"unknown key 'array.row'; did you mean 'array.rows'"):
        parse_expression("array.row > 1", VALUES)


@given(
    st.recursive(
        st.integers(1, 50).map(str),
        lambda inner: st.tuples(inner, st.sampled_from("+-*"), inner).map(
            lambda t: f"({t[0]} {t[1]} {t[2]})"
        ),
        max_leaves=12,
    )
)
def test_arithmetic_is_pythons(text):
    assert parse_expression(text)({}) == eval(text)  # the text is ours


def test_floats_stay_exact():
    assert parse_expression("x * 3")({"x": 0.1}) == 0.1 * 3
    assert parse_expression("min(x)")({"x": 3}) == 3
