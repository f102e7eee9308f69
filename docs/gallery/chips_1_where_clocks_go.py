"""
Where the clocks of a run go
============================

`.plot()` of a run: clocks of each layer, those in which the array waits apart.
"""

import bitlathe as bl

run = bl.simulate("bitmod", "opt-125m", "prefill", fidelity="analytic", mapper="whole-buffer")
axes = run.plot()
