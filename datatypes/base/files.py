"""What readers ask of a file first: that it is a plain file, not too large, in UTF-8; and writers.

Devices, pipes and sockets are refused before they are read: they may block or never end. The size
is that of what was read, not what the system says of it: some plain files have no stated size.
"""

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from io import BufferedReader
from pathlib import Path

from .errors import BitlatheError, cut

# bytes of a file of text that describes something: chip, format, sweep, model, tokenizer's facts
TEXT_MAX = 4 << 20

_KINDS = (
    (stat.S_ISDIR, "a folder"),
    (stat.S_ISFIFO, "a pipe"),
    (stat.S_ISCHR, "a device"),
    (stat.S_ISBLK, "a device"),
    (stat.S_ISSOCK, "a socket"),
)


def shown_path(path: str | Path) -> str:
    r"""Return a path as errors show it: escaped where it cannot be printed, cut where it is long.

    Examples
    --------
    >>> shown_path("chips/a.yaml")
    'chips/a.yaml'
    >>> print(shown_path("a" + chr(0) + "b.yaml"))
    a\x00b.yaml
    """
    text = str(path)
    return cut(text if text.isprintable() else ascii(text)[1:-1], 200)


def open_file(path: str | Path, what: str = "file") -> BufferedReader:
    """Open a plain file for reading.

    Parameters
    ----------
    path : str or Path
    what : str
        What the file should be, for errors.

    Raises
    ------
    BitlatheError
        Raised if it is missing, cannot be opened, is a folder, device or pipe, or not a path.
    """
    place = shown_path(path)
    # a pipe without a writer would block; a terminal must not become this program's
    flags = os.O_RDONLY
    for name in ("O_NONBLOCK", "O_NOCTTY", "O_CLOEXEC", "O_BINARY"):  # not all on each system
        flags |= getattr(os, name, 0)
    try:
        descriptor = os.open(path, flags)
    except ValueError:  # NUL, or a letter the file system's encoding lacks
        raise BitlatheError(
            f"{place}: cannot read this {what}: a path cannot have NUL or unencodable letters."
        ) from None
    except OSError as err:
        reason = err.strerror or "unreadable"
        raise BitlatheError(f"{place}: cannot read this {what}: {reason}.") from None
    mode = os.fstat(descriptor).st_mode
    if not stat.S_ISREG(mode):
        os.close(descriptor)
        kind = next((name for is_kind, name in _KINDS if is_kind(mode)), "special")
        raise BitlatheError(
            f"{place}: cannot read this {what}: it is {kind}; give the path of a plain file."
        )
    return os.fdopen(descriptor, "rb")


def read_bytes(path: str | Path, what: str = "file", largest: int = TEXT_MAX) -> bytes:
    """Return the content of a plain file of at most ``largest`` bytes.

    Raises
    ------
    BitlatheError
        It cannot be opened (see `open_file`) or read, or is larger.
    """
    with open_file(path, what) as file:
        try:
            content = file.read(largest + 1)
        except OSError as err:
            reason = err.strerror or "unreadable"
            raise BitlatheError(f"{shown_path(path)}: cannot read this {what}: {reason}.") from None
    if len(content) > largest:
        raise BitlatheError(
            f"{shown_path(path)}: this {what} is too large: more than {largest:,} bytes."
        )
    return content


def read_text(path: str | Path, what: str = "file", largest: int = TEXT_MAX) -> str:
    """Return the content of a plain file of text in UTF-8, without a byte order mark.

    Raises
    ------
    BitlatheError
        It cannot be read (see `read_bytes`) or is not UTF-8.
    """
    content = read_bytes(path, what, largest)
    try:
        return content.decode("utf-8-sig").replace("\r\n", "\n").replace("\r", "\n")
    except UnicodeDecodeError as err:
        raise BitlatheError(
            f"{shown_path(path)}: not a text file (byte {err.start} is not UTF-8)."
        ) from None


@contextmanager
def writing(path: str | Path) -> Iterator[Path]:
    """Give a file beside ``path`` to write, moved there at the end: what stood there, or all of it.

    Parameters
    ----------
    path : str or Path
        Of a plain file, or of none yet: a device or a pipe is not replaced by a file.

    Raises
    ------
    BitlatheError
        It cannot be written, is no path, or is a folder, a device or a pipe.
    """
    where = f"{shown_path(path)}: cannot be written"
    part: Path | None = None
    try:
        place = Path(os.fsdecode(path))
        if place.exists() and not place.is_file():
            mode = place.stat().st_mode
            kind = next((name for is_kind, name in _KINDS if is_kind(mode)), "special")
            raise BitlatheError(f"{where}: it is {kind}; give the path of a plain file")
        part = place.with_name(f".{place.name}.{os.getpid()}.part")
        part.touch()
        usual = stat.S_IMODE(part.stat().st_mode)
        yield part
        part.chmod(usual)  # a library that makes a file of its own lets its owner alone read it
        part.replace(place)
    except (OSError, ValueError, TypeError) as err:  # a path with NUL, or none
        raise BitlatheError(f"{where}: {getattr(err, 'strerror', None) or err}") from None
    finally:
        if part is not None:
            with suppress(OSError, ValueError):
                part.unlink(missing_ok=True)
