"""Orders and their totals."""

from dataclasses import dataclass, field

from pricing.discounts import discount_percent
from pricing.money import share


@dataclass(frozen=True)
class Line:
    article: str
    quantity: int
    unit_cents: int

    def total(self):
        gross = self.quantity * self.unit_cents
        return gross - share(gross, discount_percent(self.quantity))


@dataclass
class Order:
    tax_percent: int = 20
    lines: list = field(default_factory=list)

    def add(self, article, quantity, unit_cents):
        self.lines.append(Line(article, quantity, unit_cents))

    def net(self):
        return sum(line.total() for line in self.lines)

    def total(self):
        return self.net() + share(self.net(), self.tax_percent)
