"""The text a perplexity is of: its name, its words, the windows cut from it."""

import hashlib
import platform
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ...datatypes.base.errors import BitlatheError
from ...datatypes.base.files import read_text as read_file
from ...datatypes.base.files import shown_path
from ...datatypes.base.numbers import ceil_div

TEXT_MAX = 64 << 20  # bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Text:
    """A text and how it is called in tables."""

    title: str
    content: str

    @property
    def sha256(self) -> str:
        """Digest of the content."""
        return hashlib.sha256(self.content.encode()).hexdigest()


def read_text(path: str | Path | None = None) -> Text:
    """Return a text file, or the help topics of the running Python (``pydoc_data.topics``).

    The topics are 0.47 MB of English about Python, there wherever Python is; they differ a little
    between versions of Python, so the title names the version.

    Raises
    ------
    BitlatheError
        The file cannot be read or is not UTF-8.
    """
    if path is None:
        from pydoc_data.topics import topics

        version = ".".join(platform.python_version_tuple()[:2])
        content = "\n".join(topics[name] for name in sorted(topics))
        return Text(title=f"pydoc_data.topics of Python {version}", content=content)
    content = read_file(path, "text", TEXT_MAX)
    return Text(title=shown_path(Path(path).name), content=content)


def cut_windows(ids: Sequence[int], tokens: int, context: int) -> list[list[int]]:
    """Return windows of ``context`` tokens, evenly spaced over a text, that do not overlap.

    As many as predict at least ``tokens`` tokens: each predicts ``context - 1``.

    Examples
    --------
    >>> cut_windows(range(10), tokens=4, context=3)
    [[0, 1, 2], [5, 6, 7]]

    Raises
    ------
    BitlatheError
        The text is too short.
    """
    starts = window_starts(len(ids), tokens, context)
    return [list(ids[s : s + context]) for s in starts]


def window_starts(length: int, tokens: int, context: int, shift: float = 0.0) -> list[int]:
    """Return the first tokens of windows as `cut_windows` cuts them.

    Parameters
    ----------
    length : int
        Tokens of the text.
    tokens, context : int
        See `cut_windows`.
    shift : float
        Share of the text by which all windows stand further on, as far as there is text.

    Raises
    ------
    BitlatheError
        The text is too short.
    """
    if context < 2 or tokens < 1:
        raise BitlatheError(
            f"tokens {tokens}, context {context}: at least 1 token and a context of at least 2."
        )
    count = ceil_div(tokens, context - 1)
    if count * context > length:
        raise BitlatheError(
            f"the text has {length:,} tokens; {count:,} window{'s' * (count > 1)} of {context:,} "
            f"need {count * context:,}. Ask for fewer tokens or give a longer text."
        )
    later = min(int(shift * length), length // count - context)
    return [w * length // count + later for w in range(count)]
