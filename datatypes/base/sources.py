"""The digest of source files: what results and kernels kept on disk depend on."""

import hashlib
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

PACKAGE = Path(__file__).resolve().parents[2]


def digest_of(files: Iterable[Path], root: Path) -> str:
    """Return the SHA-256 of files: where each stands below a folder, how long it is, its bytes."""
    digest = hashlib.sha256()
    for path in sorted(files):
        content = path.read_bytes()
        digest.update(f"{path.relative_to(root).as_posix()} {len(content)}\n".encode() + content)
    return digest.hexdigest()


def files_of(root: Path, rooms: Iterable[str], counts: Callable[[Path], bool]) -> Iterator[Path]:
    """Yield the files in folders below a root that count, as their paths below it say."""
    for room in rooms:
        for path in (root / room).rglob("*"):
            if path.is_file() and counts(path.relative_to(root)):
                yield path
