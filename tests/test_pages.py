"""The examples of README and docs run, and print what the pages show."""

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest

from gray import alike_bars

ROOT = Path(__file__).resolve().parents[1]


def _load(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, ROOT / "docs" / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    __import__("sys").modules[name] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


examples = _load("blocks")
PAGES = {path.name: path for path in examples.pages()}
PAGES.pop("recipes.md")  # tests/test_recipes.py follows it
TOLD = sorted(
    name
    for name, path in PAGES.items()
    if any(block.runs for block in examples.blocks(path.read_text(encoding="utf-8")))
)
MINE = [
    line
    for block in examples.blocks(PAGES["README.md"].read_text(encoding="utf-8"))
    if block.about == "skip" and "of your own" in block.word
    for line, _, _ in examples.commands(block.text)
]
LONG = sorted(name for name in TOLD if "<!-- slow -->" in PAGES[name].read_text(encoding="utf-8"))


@pytest.mark.parametrize("name", TOLD)
def test_the_examples_of_a_page_print_what_it_shows(name: str) -> None:
    examples.check(PAGES[name])


@pytest.mark.slow
@pytest.mark.parametrize("name", LONG)
def test_the_long_examples_of_a_page_print_what_it_shows(name: str) -> None:
    examples.check(PAGES[name], slow=True)


def test_pages_with_examples_are_found_and_what_does_not_run_says_why() -> None:
    assert {"README.md", "first-session.md", "how-do-i.md", "datatypes.md"} <= set(TOLD)
    for name, path in PAGES.items():
        for block in examples.blocks(path.read_text(encoding="utf-8")):
            assert block.about != "skip" or len(block.word) > 10, f"{name}:{block.line}"


def test_readme_and_the_site_list_every_page() -> None:
    """Each page has its place in README's tables and in the site's, none is left to "More"."""
    names = {path.relative_to(ROOT / "docs").as_posix() for path in examples.pages()[1:]}
    pages = names - {"index.md"}
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    assert {page for page in pages if f"(docs/{page}" not in readme} == set()
    site = (ROOT / "docs" / "index.md").read_text(encoding="utf-8").splitlines()
    assert {page for page in pages if page.removesuffix(".md") not in site} == set()


@pytest.mark.parametrize("line", MINE)
def test_commands_of_readme_on_files_of_ones_own_run(line: str, tmp_path: Path) -> None:
    """A small model stands in for the reader's; the whole command is otherwise as it stands."""
    pytest.importorskip("tokenizers")
    from naive import tiny_lm

    model = tiny_lm.write(tmp_path / "model", tiny_lm.CONFIGS["llama3"])
    (tmp_path / "words.txt").write_text(" ".join(tiny_lm.WORDS * 40), encoding="utf-8")
    stand_ins = {
        "weights.safetensors": str(next(model.glob("*.safetensors"))),
        "CHECKPOINT": str(model),
        "smollm2-135m": f"{model} --tokens 26 --context 13 --text {tmp_path / 'words.txt'}",
        "path/to/config.json": str(model / "config.json"),
        "llama-2-7b": "opt-125m --fidelity analytic --mapper whole-buffer",
        "--out ": f"--out {tmp_path}/",
    }
    for word, own in stand_ins.items():
        line = line.replace(word, own)
    printed = examples._command(line)
    assert printed
    if "--out" in line:
        assert list((tmp_path / line.partition(f"--out {tmp_path}/")[2].split()[0]).iterdir())


PAGE = """
<!-- file: a.txt -->
```text
4
```

```python
from pathlib import Path

print(Path("a.txt").read_text().strip(), 2 + 2)
```

```text
4 4
```

```console
$ bitlathe formats int4  # a remark
int4, 4 bits
...
   1  0001 ...
...
$ bitlathe --version
bitlathe, version ...
```

<!-- slow -->
```python
print("long")
```

```text
never
```

<!-- skip: needs a network -->
```console
$ bitlathe nonsense
```
"""


def test_blocks_run_in_their_order_and_moved_output_is_told(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(PAGE)
    assert examples.check(page) == 3
    with pytest.raises(
        examples.MovedError, match=r"page\.md:3\d.*\n?shown:\nnever\n\nprinted:\nlong"
    ):
        examples.check(page, slow=True)
    page.write_text(PAGE.replace("4 4", "4 5"))
    with pytest.raises(examples.MovedError, match="4 5"):
        examples.check(page)
    page.write_text(PAGE.replace("int4  # a remark", "int44"))
    with pytest.raises(examples.MovedError, match="ends with status 2"):
        examples.check(page)


def test_a_page_is_rewritten_where_its_output_moved(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(PAGE.replace("4 4", "4 5").replace("never", "short"))
    examples.rewrite(page)
    assert page.read_text() == PAGE.replace("never", "long")


@pytest.mark.parametrize(
    ("shown", "printed", "same"),
    [
        ("a\n", "a", True),
        ("a ... c", "a b c", True),
        ("a\n...", "a\nb\nc", True),
        ("...\nc", "a\nb\nc", True),
        ("...", "", True),
        ("a\n...\nc", "a\nc", True),
        ("a\n...\nc", "a\nb\nd", False),
        ("a", "a\nb", False),
        ("1.5", "1x5", False),
    ],
)
def test_three_points_stand_for_anything(shown: str, printed: str, same: bool) -> None:
    assert examples.agrees(shown, printed) is same


def test_notebooks_are_those_of_the_gallery() -> None:
    made = _load("notebooks").made()
    assert len(made) == 3
    folder = ROOT / "docs" / "notebooks"
    found = {path.name: path.read_text(encoding="utf-8") for path in folder.glob("*.ipynb")}
    assert found == made, "python docs/notebooks.py"


GALLERY = sorted((ROOT / "docs" / "gallery").glob("*.py"))


def test_the_gallery_is_whole() -> None:
    """Each script has a title that is underlined in full."""
    assert len(GALLERY) >= 20
    for path in GALLERY:
        title, line = path.read_text(encoding="utf-8").split("\n")[1:3]
        assert line == "=" * len(title), path.name


@pytest.mark.slow
@pytest.mark.parametrize("path", GALLERY, ids=lambda path: path.stem)
def test_a_script_of_the_gallery_draws(path: Path) -> None:
    import runpy

    import matplotlib as mpl

    mpl.use("agg")
    import matplotlib.pyplot as plt

    plt.close("all")
    runpy.run_path(str(path))
    assert plt.get_fignums()
    assert [pair for number in plt.get_fignums() for pair in alike_bars(plt.figure(number))] == []
    plt.close("all")
