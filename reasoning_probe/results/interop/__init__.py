"""A run in the formats of other tools: Inspect's log, lm-evaluation-harness's files, an Every Eval Ever record.

Each module has one function that returns the files, their texts by their paths in a folder. They hold the answers with
nothing switched off, or those with one target off; no other format has a place for a sweep.
"""
