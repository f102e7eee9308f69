"""The one spelling of the names of chips and models."""


def slug(name: str) -> str:
    """Return a name as shipped files spell it: small letters, hyphens between words.

    Examples
    --------
    >>> slug(" OPT_1.3B "), slug("hpca25/BitMoD"), slug("MiniLM L6")
    ('opt-1.3b', 'hpca25/bitmod', 'minilm-l6')
    """
    return name.strip().lower().replace("_", "-").replace(" ", "-")
