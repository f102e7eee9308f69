import pytest

from golden import cases


@pytest.mark.parametrize("name", cases.CHIPS)
def test_runs_are_the_pinned_ones(name):
    pinned, found = cases.read(name), dict(cases.runs(name))
    changes = list(cases.differences(pinned, found))
    assert not changes, (
        f"{len(changes)} figures of {name} changed, {changes[:3]}; if they may, run "
        "`python tests/golden/regenerate.py --why ...`"
    )
    assert cases.text(found) == cases.path(name).read_text(encoding="utf-8")


def test_differences_find_changed_new_and_missing_figures():
    before = {"a": [{"name": "q", "cycles": 1}], "b": 2}
    after = {"a": [{"name": "q", "cycles": 3}, {"name": "r"}], "c": 2}
    assert list(cases.differences(before, after)) == [
        ("/a/q/cycles", 1, 3),
        ("/a/r", None, {"name": "r"}),
        ("/b", 2, None),
        ("/c", None, 2),
    ]
