"""Pins: chips' runs layer by layer, formats' codes and scales bit by bit, the keys of JSON.

``python tests/golden/regenerate.py --why "..."`` computes them anew, prints what changed and
notes the reason in ``changes.md``.
"""
