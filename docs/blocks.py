"""The examples of the pages: fenced blocks, run in their order, and the output that they show.

A page runs in an empty folder, with one Python namespace. A comment in the line before a block
says what is particular about it:

``<!-- file: NAME -->``   its text is written to a file, which later blocks read;
``<!-- slow -->``         it takes long, and runs with the slow tests only;
``<!-- skip: WHY -->``    it does not run: it needs what a build does not have.

Of a ``console`` block run the lines that start with ``$ bitlathe``; what stands below one is its
output. The output of a ``python`` block is the ``text`` block right behind it. ``...`` stands for
anything, within a line or for lines.

``python docs/blocks.py PAGE ...`` writes what blocks print now into the pages, where they show
output without ``...``.
"""

import contextlib
import io
import os
import re
import shlex
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any
from unittest import mock

HERE = Path(__file__).parent
KINDS = ("python", "console", "yaml", "text", "json")
_FENCE = re.compile(r"^```(\w*)[^\n]*\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_ABOUT = re.compile(r"<!-- (file|slow|skip)(?:: ([^\n]*?))? -->\n\Z")
_ANY = "..."


@dataclass(frozen=True, kw_only=True, slots=True)
class Block:
    """A fenced block of a page: its kind, text and line, and what the comment above it says."""

    kind: str
    text: str
    line: int
    start: int
    about: str = ""
    word: str = ""

    @property
    def runs(self) -> bool:
        """Whether it can run at all."""
        return self.about != "skip" and (self.kind in ("python", "console") or self.about == "file")


class MovedError(AssertionError):
    """A block prints something else than its page shows."""


def pages() -> list[Path]:
    """Return the pages whose blocks are examples: README, those of this folder, the tutorials."""
    folders = (HERE, HERE / "tutorials")
    return [HERE.parent / "README.md", *(p for at in folders for p in sorted(at.glob("*.md")))]


def blocks(text: str) -> list[Block]:
    """Return the fenced blocks of a page."""
    found = []
    for fence in _FENCE.finditer(text):
        about = _ABOUT.search(text, 0, fence.start())
        found.append(
            Block(
                kind=fence[1],
                text=fence[2],
                line=text.count("\n", 0, fence.start()) + 1,
                start=fence.start(2),
                about=about[1] if about else "",
                word=(about[2] or "") if about else "",
            )
        )
    return found


def run(text: str, *, slow: bool = False) -> Iterator[tuple[Block, str, str]]:
    """Run a page's blocks in the folder one is in; yield those with output: shown and printed.

    Parameters
    ----------
    text : str
        The page.
    slow : bool
        Run the blocks marked as slow, too.
    """
    names: dict[str, Any] = {"__name__": "__main__"}
    found = blocks(text)
    for block, after in zip(found, [*found, None][1:], strict=True):
        if not block.runs or (block.about == "slow" and not slow):
            continue
        if block.about == "file":
            Path(block.word).parent.mkdir(parents=True, exist_ok=True)
            Path(block.word).write_text(block.text, encoding="utf-8")
        elif block.kind == "console":
            for command, place, shown in commands(block.text):
                start = block.start + place
                yield replace(block, text=command, start=start), shown, _command(command)
        else:
            printed = _python(block, names)
            if after is not None and after.kind == "text" and _follows(text, block, after):
                yield after, after.text, printed


def _follows(text: str, block: Block, after: Block) -> bool:
    between = text[block.start + len(block.text) : after.start]
    return not re.sub(r"```\w*", "", between).strip()


def commands(text: str) -> list[tuple[str, int, str]]:
    """Return bitlathe's commands in a console block: line, place of its output, the output."""
    starts = [found.start() for found in re.finditer(r"^\$ ", text, re.MULTILINE)]
    found = []
    for start, end in zip(starts, [*starts, len(text)][1:], strict=True):
        line, newline, shown = text[start + 2 : end].partition("\n")
        if line.startswith("bitlathe "):
            found.append((line, start + 2 + len(line + newline), shown))
    return found


def _command(line: str) -> str:
    """Run the commands of a line, with ``>`` to a file; return what they print."""
    from click.testing import CliRunner

    from bitlathe.cli import main

    printed = ""
    parts = re.split(r" && |; ", re.split(r"\s#\s", line)[0])
    for part in parts:
        words = shlex.split(part)
        target = None
        if ">" in words:
            words, target = words[: words.index(">")], words[-1]
        done = CliRunner().invoke(main, words[1:])
        if done.exit_code:
            raise MovedError(f"$ {line}\nends with status {done.exit_code}:\n{done.output}")
        if target:
            Path(target).write_text(done.stdout, encoding="utf-8")
        else:
            printed += done.stdout
    return printed


def _python(block: Block, names: dict[str, Any]) -> str:
    if ">>> " in block.text:
        import doctest

        test = doctest.DocTestParser().get_doctest(block.text, names, "page", None, block.line)
        out = io.StringIO()
        if doctest.DocTestRunner(optionflags=doctest.ELLIPSIS).run(test, out=out.write).failed:
            raise MovedError(out.getvalue())
        return ""
    with contextlib.redirect_stdout(io.StringIO()) as out:
        exec(compile(block.text, f"line {block.line}", "exec"), names)
    return out.getvalue()


def agrees(shown: str, printed: str) -> bool:
    """Return whether what is printed is what is shown, ``...`` standing for anything.

    Examples
    --------
    >>> agrees("12 clocks in ... s", "12 clocks in 0.3 s"), agrees("...", "a"), agrees("a", "b")
    (True, True, False)
    """
    want = [line.rstrip() for line in shown.strip().split("\n")]
    have = [line.rstrip() for line in printed.strip().split("\n")]

    @cache
    def rest(i: int, j: int) -> bool:
        if i == len(want):
            return j == len(have)
        if want[i].strip() == _ANY:
            return rest(i + 1, j) or (j < len(have) and rest(i, j + 1))
        return j < len(have) and _line(want[i], have[j]) and rest(i + 1, j + 1)

    return rest(0, 0)


def _line(shown: str, printed: str) -> bool:
    return re.fullmatch(re.escape(shown).replace(re.escape(_ANY), ".*"), printed) is not None


def check(path: Path, *, slow: bool = False) -> int:
    """Run a page in a folder of its own; return how many outputs were compared.

    Parameters
    ----------
    path : Path
        The page.
    slow : bool
        Run the blocks marked as slow, too.

    Raises
    ------
    MovedError
        An output differs from what the page shows; with page, line, and both.
    """
    compared = 0
    with _folder():
        for block, shown, printed in run(path.read_text(encoding="utf-8"), slow=slow):
            if not shown.strip():
                continue
            if not agrees(shown, printed):
                raise MovedError(
                    f"{path.name}:{block.line}: {block.text if block.kind == 'console' else ''}\n"
                    f"shown:\n{shown}\nprinted:\n{printed}\n"
                    f"If it is meant to move: python docs/blocks.py {path.name}"
                )
            compared += 1
    return compared


@contextlib.contextmanager
def _folder() -> Iterator[None]:
    """Work in an empty folder, as on no terminal of a width of its own."""
    before = Path.cwd()
    with tempfile.TemporaryDirectory() as folder, mock.patch.dict(os.environ):
        os.environ.pop("COLUMNS", None)
        os.chdir(folder)
        try:
            yield
        finally:
            os.chdir(before)


def rewrite(path: Path) -> None:
    """Write what blocks print now into a page, where it shows output without ``...``."""
    text = path.read_text(encoding="utf-8")
    with _folder():
        moved = [
            (block, shown, printed)
            for block, shown, printed in run(text, slow=True)
            if shown.strip() and _ANY not in shown and not agrees(shown, printed)
        ]
    for block, shown, printed in reversed(moved):
        body = "\n".join(line.rstrip() for line in printed.strip().split("\n")) + "\n"
        gap = "\n" if block.kind == "console" and shown.endswith("\n\n") else ""
        text = text[: block.start] + body + gap + text[block.start + len(shown) :]
    path.write_text(text, encoding="utf-8")


def main(names: Sequence[str]) -> None:
    """Rewrite the pages that are named."""
    for name in names:
        found = [path for path in pages() if path.name == Path(name).name]
        rewrite(found[0])


if __name__ == "__main__":
    main(sys.argv[1:])
