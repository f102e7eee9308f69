"""
A format of your own
====================

Values that are spread as the quantiles of a Gaussian, in four bits, beside NF4 and INT4.
"""

from statistics import NormalDist

import matplotlib.pyplot as plt
import numpy as np

import bitlathe as bl
from bitlathe.datatypes import Scheme, codebook

values = [NormalDist().inv_cdf((i + 0.5) / 16) for i in range(16)]
mine = codebook("quantiles", values)
weights = np.random.default_rng(0).standard_normal((64, 1024))
schemes = {"quantiles": Scheme.parse(mine), "nf4": "nf4", "int4": "int4"}
errors = {}
for name, scheme in schemes.items():
    tensor = bl.quantize(weights, scheme)
    errors[name] = np.square(np.asarray(tensor) - weights).mean()
figure, (line, bars) = plt.subplots(2, 1, figsize=(7, 4), layout="constrained")
mine.plot(line)
bars.barh(list(errors), list(errors.values()), color="#0072B2")
bars.set_xlabel("mean squared error of Gaussian weights")
