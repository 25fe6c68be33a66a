"""Judging: what a careful reader says that a response answers, whether it is right, and how it is wrong.

``errors.py`` has the one entry, ``judge``. ``scoring.py`` takes an answer from a response and compares it;
``mistakes.py`` has a rule for each kind of mistake. The others read: numbers in sentences, worked steps, options,
labels, texts.
"""
