"""Parts of a whole, as equal as whole numbers can be."""

from dataclasses import dataclass

from ..datatypes.base.errors import BitlatheError


@dataclass(frozen=True, slots=True, kw_only=True)
class Slice:
    """Part number ``index``, from 0, of ``parts``; where they differ by one, the first are larger.

    Examples
    --------
    >>> [Slice(index=i, parts=3).of(8) for i in range(3)], Slice(index=1, parts=3).start(8)
    ([3, 3, 2], 3)
    """

    index: int = 0
    parts: int = 1

    def of(self, total: int) -> int:
        """Return the size of the part."""
        return (total - self.index + self.parts - 1) // self.parts

    def start(self, total: int) -> int:
        """Return the sum of the parts before it."""
        each, more = divmod(total, self.parts)
        return self.index * each + min(self.index, more)


WHOLE = Slice()


def check_enough(degree: str, parts: int, total: int, what: str, shown: int | None = None) -> None:
    """Raise unless there is something for each part.

    Parameters
    ----------
    degree : str
        Way of dividing, as users name it.
    parts, total : int
        Parts asked for, and things to divide.
    what : str
        What these are.
    shown : int, optional
        How many the sentence says there are, where these are others than ``total``.

    Raises
    ------
    BitlatheError
        If there are more parts than things.
    """
    if parts > total:
        raise BitlatheError(
            f"{degree} is {parts}, but there are {total if shown is None else shown} {what}; use "
            f"at most {total}."
        )


def slices(parts: int) -> tuple[Slice, ...]:
    """Return all parts of a whole."""
    return tuple(Slice(index=i, parts=parts) for i in range(parts))


def shares(total: int, parts: int) -> tuple[int, ...]:
    """Return the sizes of all parts of a whole, the largest first.

    Examples
    --------
    >>> shares(10, 4)
    (3, 3, 2, 2)
    """
    return tuple(each.of(total) for each in slices(parts))
