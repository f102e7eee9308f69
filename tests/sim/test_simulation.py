"""The road of a model through `simulate`: each thing once, from records to records."""

from collections import Counter
from functools import partial

import pytest

import bitlathe as bl
from bitlathe.arch.schema import Arch
from bitlathe.sim.demand import Demand
from bitlathe.sim.layout import Layout
from bitlathe.sim.run import LayerRun
from bitlathe.workloads.model import Model

simulate = partial(bl.simulate, mapper="whole-buffer")  # the rule, not a search

SETTINGS = (
    {},
    {"execution.keep_outputs": True},
    {"execution.overlap_layers": True},
    {"execution.keep_outputs": True, "execution.overlap_layers": True},
)


@pytest.mark.parametrize("fidelity", ["analytic", "cycle"])
@pytest.mark.parametrize("settings", SETTINGS, ids=lambda s: "+".join(s) or "plain")
def test_nothing_is_made_twice(
    monkeypatch: pytest.MonkeyPatch, fidelity: str, settings: dict
) -> None:
    """The products of a pass, the SRAM of the chip, the demand and the row of each layer."""
    made: Counter[str] = Counter()

    def counted(owner: type, name: str) -> None:
        real = getattr(owner, name)

        def spy(*args: object, **kwargs: object) -> object:
            made[f"{owner.__name__}.{name}"] += 1
            return real(*args, **kwargs)

        monkeypatch.setattr(owner, name, spy)

    settings = {**settings, "vector.lanes": 0}  # the unit looks up its memory's ports
    chip, model = bl.load_arch("bitmod", settings), bl.load_model("opt-125m")
    for owner, name in (
        (Model, "staged"),
        (Arch, "sram_cost"),
        (Demand, "__init__"),
        (Layout, "__init__"),
        (LayerRun, "__init__"),
    ):
        counted(owner, name)
    run = simulate(chip, model, "decode", 64, fidelity=fidelity)
    rows = len(run.layers)
    assert made["Model.staged"] == 1
    assert made["Arch.sram_cost"] == len(chip.buffers.priced)
    assert made["LayerRun.__init__"] == rows
    assert made["Demand.__init__"] <= rows
    assert made["Layout.__init__"] <= 2 * rows  # laid out, and its waiting sums counted


def test_only_the_cycle_rung_tells_the_bandwidth() -> None:
    with pytest.raises(bl.BitlatheError, match="only fidelity 'cycle' reports it, not 'analytic'"):
        simulate("bitmod", "opt-125m", fidelity="analytic", bandwidth=True)


def test_weights_of_no_layer_are_refused() -> None:
    with pytest.raises(bl.BitlatheError, match="weights: unknown layer 'q_prj'"):
        simulate("bitmod", "opt-125m", weights={"q_prj": None})
