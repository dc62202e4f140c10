import unittest

from pricing import discount_percent


class DiscountTest(unittest.TestCase):
    def test_small_quantities_have_no_discount(self):
        self.assertEqual(discount_percent(0), 0)
        self.assertEqual(discount_percent(9), 0)

    def test_a_tier_begins_at_its_smallest_quantity(self):
        self.assertEqual(discount_percent(10), 5)
        self.assertEqual(discount_percent(50), 10)
        self.assertEqual(discount_percent(100), 15)

    def test_a_tier_lasts_until_the_next(self):
        self.assertEqual(discount_percent(49), 5)
        self.assertEqual(discount_percent(99), 10)
        self.assertEqual(discount_percent(5000), 15)

    def test_negative_quantities_are_refused(self):
        with self.assertRaisesRegex(ValueError, "zero or more"):
            discount_percent(-1)
