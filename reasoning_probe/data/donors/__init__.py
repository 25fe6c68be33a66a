"""Donors: for each generated question another one with another answer, and one with the same answer."""
