"""The package as a user's type checker and a user's star import see it."""

import builtins
import pydoc
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
USER = """
import bitlathe as bl

q = bl.quantize([[1.0, -2.0]], "int4@g2")
reveal_type(q)
reveal_type(q.shape)
reveal_type(bl.format("int4"))
run = bl.simulate("bitmod", "opt-1.3b", phase="decode", context=256)
reveal_type(run.cycles)
reveal_type(bl.load_arch("bitmod").title)
reveal_type(bl.load_model("opt-1.3b"))
reveal_type(bl.datatypes.quantize.quantize([1.0], "int4").size)
reveal_type(bl.sim.systolic(8, 8, 8, 4, 4).cycles)
bl.quantise([1.0], "int4")
bl.quantize([1.0])
"""
FORMAT, SCHEME = "bitlathe.datatypes.formats.format", "bitlathe.datatypes.schemes.scheme"
REVEALED = [
    (5, "bitlathe.datatypes.tensors.tensor.QuantizedTensor"),
    (6, "tuple[int, ...]"),
    (7, f"{FORMAT}.Format | {FORMAT}.Mixture | {SCHEME}.Scheme"),
    (9, "int"),
    (10, "str"),
    (11, "bitlathe.workloads.model.Model"),
    (12, "int"),
    (13, "int"),
]


STAGE = Path(sys.prefix) / "stage"  # where `make lint` has checked the package
BARE = ("--strict", "--config-file=", "--follow-imports=silent")


@pytest.fixture(
    scope="module",
    params=["as linted", pytest.param("bare", marks=pytest.mark.slow)],
)
def check(request, tmp_path_factory):
    """Run mypy, strict, on a user's file beside the package; return its lines.

    With the project's settings what `make lint` found of the package is at hand; without any, as
    a user has it, the whole package is read again.
    """
    folder, place = tmp_path_factory.mktemp("user"), STAGE
    options = ("--config-file", str(ROOT / "pyproject.toml"))
    if request.param == "bare":
        options = BARE
    if request.param == "bare" or (STAGE / "bitlathe").resolve() != ROOT:
        (folder / "bitlathe").symlink_to(ROOT, target_is_directory=True)
        place = folder

    def run(text):
        (folder / "mine.py").write_text(text)
        program = [sys.executable, "-m", "mypy", *options, "--no-error-summary"]
        lines = subprocess.run(
            [*program, str(folder / "mine.py")], cwd=place,
            capture_output=True, text=True, check=False,
        ).stdout.splitlines()  # fmt: skip
        return [re.sub(r"^.*mine\.py:", "mine.py:", line) for line in lines]

    return run


def test_a_users_file_is_checked_with_the_types_it_has(check):
    lines = check(USER)
    found = [
        (int(match[1]), match[2].strip('"'))
        for line in lines
        if (match := re.match(r"mine\.py:(\d+): note: Revealed type is \"(.*)\"", line))
    ]
    assert [(n, re.sub(r"builtins\.", "", t)) for n, t in found] == REVEALED, lines
    errors = [line for line in lines if ": error: " in line]
    assert [line.split(":")[1] for line in errors] == ["14", "15"], lines
    assert 'has no attribute "quantise"' in errors[0]
    assert 'Missing positional argument "scheme"' in errors[1]


def test_the_readmes_python_passes_strict_checks(check):
    blocks = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    assert len(blocks) >= 3
    assert check("\n".join(blocks)) == []


def test_a_users_file_of_a_hundred_lines_passes_strict_checks_and_runs(check):
    text = (ROOT / "tests" / "typed_user.py.txt").read_text(encoding="utf-8")
    assert len(text.splitlines()) >= 100
    assert check(text) == []
    fresh(text)


def fresh(program):
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    return done.stdout.split("\n")[:-1]


def test_a_star_import_hides_nothing_of_pythons():
    names = fresh("from bitlathe import *; print(format(3.14159, '.2f')); print(*dir())")
    assert names[0] == "3.14"
    given = {name for name in names[1].split() if not name.startswith("__")}
    assert "quantize" in given
    assert not given & set(dir(builtins))


@pytest.mark.parametrize("name", ["quantize", "formats", "study", "schemes", "names", "Format"])
def test_a_name_means_the_same_whatever_was_imported_before(name):
    look = f"print(repr(bl.datatypes.{name}).split(' at ')[0])"
    before = fresh(f"import bitlathe as bl; {look}")
    used = "bl.quantize([1.0], 'int4'); bl.format('int4'); import bitlathe.datatypes.study.compare"
    assert before == fresh(f"import bitlathe as bl; {used}; {look}")


def test_dir_offers_what_is_meant_for_users():
    import bitlathe as bl

    offered = dir(bl)
    assert {"quantize", "format", "simulate", "datatypes", "__version__"} <= set(offered)
    assert not {"TYPE_CHECKING", "Any", "import_module", "_HOME"} & set(offered)
    assert all(hasattr(bl, name) for name in offered)
    told = pydoc.render_doc(bl, renderer=pydoc.plaintext)
    assert "simulate(arch:" in told
    assert len(told) < 30_000  # a page, not all members of all classes
    with pytest.raises(AttributeError, match="has no attribute 'quantise'"):
        bl.quantise  # noqa: B018
    with pytest.raises(AttributeError, match="has no attribute 'quantise'"):
        bl.datatypes.quantise  # noqa: B018
