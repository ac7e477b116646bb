"""How numbers are told."""


def counted(number: int, noun: str) -> str:
    """Return a number and what there is so many of, in the plural unless it is one: `1,234 events`."""
    plural = f"{noun[:-1]}ies" if noun.endswith("y") else f"{noun}s"
    return f"{number:,} {noun if number == 1 else plural}"
