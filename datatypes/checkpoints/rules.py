"""Which tensors of a checkpoint are quantized, and in which scheme: by patterns of names."""

from collections.abc import Iterable
from dataclasses import dataclass
from fnmatch import fnmatchcase

from ..base.errors import BitlatheError, nearest
from ..base.files import shown_path
from ..formats.format import Format, Mixture
from ..schemes.scheme import Scheme


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """The scheme of each tensor, by its name.

    Attributes
    ----------
    scheme : Scheme or None
        Of what no rule names; None leaves it as it is.
    by_name : tuple of (str, Scheme)
        Patterns with ``*``, ``?`` and ``[...]``; the first that matches decides.
    include, exclude : tuple of str
        Patterns of what is quantized (empty: all), and of what is not.
    """

    scheme: Scheme | None = None
    by_name: tuple[tuple[str, Scheme], ...] = ()
    include: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()

    @classmethod
    def of(
        cls,
        scheme: str | Scheme | Format | Mixture | None = None,
        by_name: Iterable[tuple[str, str | Scheme | Format | Mixture]] = (),
        include: str | Iterable[str] = (),
        exclude: str | Iterable[str] = (),
    ) -> "Rules":
        """Return rules, their schemes read.

        Parameters
        ----------
        scheme : str, Scheme, Format, Mixture or None
        by_name : iterable of (str, scheme)
        include, exclude : iterable of str, or str
            See `Rules`; a text is one pattern.

        Raises
        ------
        BitlatheError
            Raised if a scheme is wrong.
        """
        return cls(
            scheme=None if scheme is None else Scheme.parse(scheme),
            by_name=tuple((pattern, Scheme.parse(own)) for pattern, own in by_name),
            include=_patterns(include),
            exclude=_patterns(exclude),
        )

    def of_tensor(self, name: str) -> Scheme | None:
        """Return the scheme of a tensor of that name; None where it stays as it is.

        Examples
        --------
        >>> rules = Rules.of("int4@g128", [("*down*", "int8@channel")], exclude=["lm_head*"])
        >>> [str(rules.of_tensor(n)) for n in ("up", "down", "lm_head")]
        ['int4@g128', 'int8@channel', 'None']
        """
        if self.include and not _any(name, self.include):
            return None
        if _any(name, self.exclude):
            return None
        return next((own for pattern, own in self.by_name if _any(name, (pattern,))), self.scheme)

    def check(self, names: Iterable[str]) -> None:
        """Refuse patterns that name nothing: a misspelled name, perhaps.

        Raises
        ------
        BitlatheError
            Raised if a pattern matches no name.
        """
        known = tuple(names)
        for pattern in (*self.include, *self.exclude, *(pattern for pattern, _ in self.by_name)):
            if not any(_any(name, (pattern,)) for name in known):
                near = nearest(pattern, known) or known[:3]
                there = ", ".join(map(shown_path, near))
                raise BitlatheError(
                    f"pattern {pattern!r} matches no tensor; there are {there}, ..."
                )


def _patterns(given: str | Iterable[str]) -> tuple[str, ...]:
    return (given,) if isinstance(given, str) else tuple(given)


def _any(name: str, patterns: Iterable[str]) -> bool:
    return any(fnmatchcase(name, pattern) for pattern in patterns)
