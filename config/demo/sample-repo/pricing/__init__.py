"""What an order costs."""

from pricing.discounts import discount_percent
from pricing.orders import Line, Order

__all__ = ["Line", "Order", "discount_percent"]
