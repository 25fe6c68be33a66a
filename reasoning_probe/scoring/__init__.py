"""Scoring: which answer a response gives, whether it is correct, and which mistake a wrong answer makes."""
