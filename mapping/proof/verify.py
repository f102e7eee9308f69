"""Check a certificate of any kind.

As a program: ``python -m bitlathe.mapping.proof.verify FILE``.
"""

import sys

from .check import Verdict, check_mapping
from .fused.check import check_fused
from .record import ProofError, load
from .strips.check import check_strips


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
    kinds = {
        "certificate": check_mapping,
        "fused_certificate": check_fused,
        "strips_certificate": check_strips,
    }
    for name, checks in kinds.items():
        if isinstance(top, dict) and name in top:
            return checks(top)
    raise ProofError("the file is not a certificate of a mapping; give one that map wrote.")


def main(path: str) -> int:
    """Check a file; print the verdict, or the one sentence that says what does not hold."""
    try:
        with open(path, encoding="utf-8") as file:
            verdict = check(file.read())
        print("\n".join([str(verdict), *verdict.about]))
    except (ProofError, OSError, UnicodeDecodeError) as err:
        print(f"{path}: {err}")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
