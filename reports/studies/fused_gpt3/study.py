"""A layer of GPT-3 175B, fused and apart, beside AccelForge's optima of the same chip and layer.

AccelForge searches all mappings of its own model, fused ones too, for one layer without norms,
residual sums and activation: rows of the layer that are not there are left out of the sums here.
Of a decoded token the time is that of DRAM in both, and the mappings of least energy are taken: to
search for the least product of both takes too long on this chip.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from ....arch import Arch, load_arch
from ....sim import LayerRun, Run, simulate
from ....workloads import Model, load_model

CHIP = Path(__file__).with_name("tpu-v4i.yaml")
CONTEXT = 2048


def layer_of(hidden_size: int, heads: int) -> dict[str, Any]:
    """Return one layer of a GPT-3 (Brown et al., arXiv 2005.14165, table 2.1) as a configuration.

    Parameters
    ----------
    hidden_size : int
    heads : int
    """
    return {
        "model_type": "opt",  # with two matrices in its MLP, all heads with their own keys
        "hidden_size": hidden_size,
        "word_embed_proj_dim": hidden_size,
        "num_hidden_layers": 1,
        "num_attention_heads": heads,
        "ffn_dim": 4 * hidden_size,
        "vocab_size": 2,
        "max_position_embeddings": CONTEXT,
        "activation_function": "relu",
    }


GPT3 = layer_of(12288, heads=96)
"""One layer of GPT-3 175B."""


MAPPERS = {"prefill": "search", "decode": "search-energy"}


class Published(NamedTuple):
    """An optimum: energy in all and of DRAM, where it is known, and time."""

    joules: float
    dram_joules: float | None
    milliseconds: float


ACCELFORGE: Mapping[tuple[str, bool], Published] = {
    ("prefill", False): Published(1.3358088, 0.4472432, 59.500957),
    ("prefill", True): Published(1.1749368, 0.2207908, 56.330588),
    ("decode", True): Published(0.20986, None, 6.07),
}
"""By phase, and whether layers are fused: ``tpu_v4i|gpt3_175B`` with 2,048 new tokens, and one, of
tests/regression_reference.json in Accelergy-Project/accelforge at commit 01f87eb; energy of DRAM is
the sum of its ``MainMemory``."""

NOT_KNOWN = (None, None, None)
_NOT_THERE = ("embedding", "final_norm", "lm_head")
_NOT_THERE_BEHIND = ("norm", "residual", "kv_cache")


def is_there(layer: LayerRun) -> bool:
    """Return whether AccelForge's layer has a layer."""
    return layer.name not in _NOT_THERE and not layer.name.endswith(_NOT_THERE_BEHIND)


def rows(
    phase: str = "prefill",
    chip: Arch | None = None,
    model: Model | None = None,
    context: int = CONTEXT,
) -> list[dict[str, Any]]:
    """Return energy and time of a prefill, or a token, apart and fused, here and as published.

    Parameters
    ----------
    phase : {"prefill", "decode"}
    chip : Arch, optional
        The study's; published figures are of that.
    model : Model, optional
        One layer of GPT-3 175B.
    context : int
        Tokens.
    """
    on, network = chip or load_arch(CHIP), model or load_model(GPT3)
    found = []
    for fusion in (False, True):
        run = simulate(
            on, network, phase=phase, context=context, fidelity="analytic", mapper=MAPPERS[phase],
            fusion=fusion,
        )  # fmt: skip
        here, published = of_run(run), ACCELFORGE.get((phase, fusion), NOT_KNOWN)
        found.append(
            {
                "layers": "fused" if fusion else "apart",
                "J": here.joules,
                "J, AccelForge": published[0],
                "DRAM J": here.dram_joules,
                "DRAM J, AccelForge": published[1],
                "ms": here.milliseconds,
                "ms, AccelForge": published[2],
                "fused": " ".join(each.name for each in run.layers if each.fused),
            }
        )
    return found


def of_run(run: Run) -> Published:
    """Return the energy and time of what AccelForge's layer has, in a run."""
    some = [layer for layer in run.layers if is_there(layer)]
    cycles = sum(layer.cycles * layer.count for layer in some)
    return Published(
        joules=sum(layer.energy_pj["total"] * layer.count for layer in some) * 1e-12,
        dram_joules=sum(layer.energy_pj["dram"] * layer.count for layer in some) * 1e-12,
        milliseconds=cycles / run.clock_ghz * 1e-6,
    )
