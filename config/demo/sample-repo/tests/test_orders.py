import unittest

from pricing import Order
from pricing.money import share, show


class OrderTest(unittest.TestCase):
    def test_an_order_is_the_sum_of_its_lines_and_tax(self):
        order = Order(tax_percent=20)
        order.add("bolt", 3, 125)
        order.add("nut", 20, 50)
        self.assertEqual(order.net(), 375 + 950)
        self.assertEqual(order.total(), 1590)

    def test_an_empty_order_costs_nothing(self):
        self.assertEqual(Order().total(), 0)


class MoneyTest(unittest.TestCase):
    def test_half_a_cent_is_rounded_up(self):
        self.assertEqual(share(10, 5), 1)
        self.assertEqual(share(9, 5), 0)

    def test_amounts_are_shown_with_two_decimals(self):
        self.assertEqual(show(1234), "12.34")
        self.assertEqual(show(-5), "-0.05")
