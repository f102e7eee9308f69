"""
Terms: what bit-serial hardware works on
========================================

A bit-serial PE spends a clock on each term of the widest weight. Fewer terms, fewer clocks.
"""

import matplotlib.pyplot as plt

import bitlathe as bl
from bitlathe.datatypes import Scheme

NAMES = ("int3", "int4", "int6", "int8", "fp3_e2m0", "fp4_e2m1", "fp6_e2m3", "bitmod_fp4")
terms = [Scheme.parse(name).terms_per_weight for name in NAMES]
bits = [bl.format(name).bits for name in NAMES]
figure, axes = plt.subplots(figsize=(7, 3), layout="constrained")
axes.bar(NAMES, bits, color="0.85", label="bits")
axes.bar(NAMES, terms, color="#0072B2", width=0.5, label="terms")
axes.set_ylabel("of a weight")
axes.tick_params(axis="x", rotation=30)
axes.legend(frameon=False)
