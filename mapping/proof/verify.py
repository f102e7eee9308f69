"""Check a certificate of any kind.

As a program: ``python -m bitlathe.mapping.proof.verify FILE``.
"""

import os
import sys

from .check import Verdict, check_mapping
from .fused.check import Fusion
from .fused.parts import check_blocks
from .record import ProofError, load
from .strips.check import Strips


def check(content: str) -> Verdict:
    """Check the text of a certificate.

    Parameters
    ----------
    content : str
        JSON, as `mapping.certify`, `mapping.fused.certify` or `certify_strips` there writes it.

    Raises
    ------
    ProofError
        Something in it does not hold: it says what, in a sentence.
    """
    top = load(content)
    if isinstance(top, dict) and "certificate" in top:
        return check_mapping(top)
    for kind in (Fusion, Strips):
        if isinstance(top, dict) and kind.NAME in top:
            return check_blocks(top, kind)
    raise ProofError("the file is not a certificate of a mapping; give one that map wrote.")


def main(path: str) -> int:
    """Check a file; print the verdict, or the one sentence that says what does not hold."""
    failed = 0
    try:
        with open(path, encoding="utf-8") as file:
            verdict = check(file.read())
        said = "\n".join([str(verdict), *verdict.about])
    except (ProofError, OSError, UnicodeDecodeError) as err:
        said, failed = f"{path}: {err}", 1
    try:
        print(said, flush=True)
    except BrokenPipeError:  # who reads has enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return failed


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]) if len(sys.argv) == 2 else "give one file: a certificate.")
