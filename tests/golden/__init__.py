"""Pinned runs: what shipped and two systolic chips take for models of every kind, layer by layer.

``python tests/golden/regenerate.py --why "..."`` computes them anew, prints what changed and
notes the reason in ``changes.md``.
"""
