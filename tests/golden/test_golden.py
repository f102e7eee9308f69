import numpy as np
import pytest

from golden import cases, formats

COPIES = 146  # of the small tensor, for a large one: the compiled kernels work on it
BY_ROWS = [scheme for scheme in formats.SCHEMES if "@tensor" not in scheme]


@pytest.mark.parametrize("name", cases.PINS)
def test_what_is_found_is_what_is_pinned(name):
    pinned, found = cases.read(name), cases.found(name)
    changes = list(cases.differences(pinned, found))
    assert not changes, (
        f"{len(changes)} figures of {name} changed, {changes[:3]}; if they may, run "
        "`python tests/golden/regenerate.py --why ...`"
    )
    assert cases.text(name, found) == cases.path(name).read_text(encoding="utf-8")


@pytest.mark.parametrize("scheme", BY_ROWS)
def test_compiled_kernels_give_what_is_pinned(scheme):
    """The pins come from numpy, the tensor being small; rows on rows of it are coded the same."""
    pinned = cases.read("formats")[scheme]
    q = formats.quantized(np.tile(formats.tensor(), (COPIES, 1)), scheme)
    copies = q.dequantize().reshape(COPIES, formats.ROWS, formats.COLUMNS)
    np.testing.assert_array_equal(copies, np.broadcast_to(copies[0], copies.shape))
    for copy in (0, 1, COPIES // 2, COPIES - 1):
        rows = q[copy * formats.ROWS : (copy + 1) * formats.ROWS]
        assert formats.pinned_parts(rows, copies[copy]) == pinned


def test_differences_find_changed_new_and_missing_figures():
    before = {"a": [{"name": "q", "cycles": 1}], "b": 2}
    after = {"a": [{"name": "q", "cycles": 3}, {"name": "r"}], "c": 2}
    assert list(cases.differences(before, after)) == [
        ("/a/q/cycles", 1, 3),
        ("/a/r", None, {"name": "r"}),
        ("/b", 2, None),
        ("/c", None, 2),
    ]
