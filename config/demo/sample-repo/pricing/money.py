"""Amounts are whole cents; fractions are rounded half up, once, where they arise."""


def share(cents, percent):
    """Returns this many percent of an amount."""
    return (cents * percent + 50) // 100


def show(cents):
    """Returns an amount for people: 1234 is 12.34."""
    sign = "-" if cents < 0 else ""
    return f"{sign}{abs(cents) // 100}.{abs(cents) % 100:02d}"
