"""Volume discounts: who buys more pays less for each piece."""

# (smallest quantity, percent), in ascending order
TIERS = ((10, 5), (50, 10), (100, 15))


def discount_percent(quantity):
    """Returns the discount for this many pieces of one article, in percent."""
    if quantity < 0:
        raise ValueError(f"quantity is {quantity}: expected zero or more")
    percent = 0
    for smallest, tier_percent in TIERS:
        if quantity > smallest:
            percent = tier_percent
    return percent
