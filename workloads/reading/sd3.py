"""Stable Diffusion 3 (arXiv:2403.03206): a text and an image attend to each other.

Structure follows the class ``SD3Transformer2DModel`` of diffusers 0.42.1.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial

from ..config import Config
from ..products import Products
from ..slices import Slice
from ..sources.graph import joined
from .built import Net, Value, divisible

_TOKENS = 333  # 77 of CLIP's text encoders, 256 of T5's, as the pipeline gives them
_FREQUENCIES = 256  # of the embedding of a time
_DEFAULTS = {
    "sample_size": 128,
    "patch_size": 2,
    "in_channels": 16,
    "num_layers": 18,
    "attention_head_dim": 64,
    "num_attention_heads": 18,
    "joint_attention_dim": 4096,
    "caption_projection_dim": 1152,
    "pooled_projection_dim": 2048,
    "dual_attention_layers": [],
    "out_channels": 16,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class _Blocks:
    """Blocks as they are built into a network; ``vector`` steers all of them."""

    net: Net
    heads: int
    normed: bool
    vector: Value

    def steered(self, name: str, x: Value, vectors: int) -> Value:
        """Return a norm whose results are scaled and shifted by what a matrix makes of the vector.

        Parameters
        ----------
        name : str
        x : Value
        vectors : int
            Those that the matrix makes.
        """
        net = self.net
        silent = net.each(f"{name}.silu", ("silu",), self.vector)
        made = net.linear(f"{name}.linear", silent, vectors * x.channels)
        return self.scaled(name, replace(x, origin=joined((x.origin, made.origin))))

    def scaled(self, name: str, x: Value) -> Value:
        """Return a norm without parameters, scaled and shifted."""
        operations = ("layer_norm", "multiply", "add")
        return self.net.norm(name, operations, x, learned=False)

    def projected(self, where: str, names: Sequence[str], x: Value) -> list[Value]:
        """Return queries, keys and values, with their norms over each head."""
        made = [
            self.net.linear(f"{where}.{name}", x, x.channels, apart=self.heads) for name in names
        ]
        if self.normed:
            width, own = x.channels // self.heads, self.net.tensor.of(self.heads)
            for i in (0, 1):
                step = f"{where}.{names[i]}.norm"
                rows = own * x.places
                made[i] = self.net.norm(step, ("rms_norm",), made[i], rows, learned=False)
                self.net.vectors += width
        return made

    def gated(self, name: str, x: Value, residual: Value) -> Value:
        """Return what a gate lets into the residual."""
        return self.net.each(name, ("multiply", "add"), x, residual)

    def feed(self, where: str, x: Value) -> Value:
        """Return an MLP behind a norm, gated into what it reads."""
        inner = self.scaled(f"{where}.norm", x)
        inner = self.net.linear(f"{where}.in", inner, 4 * x.channels, apart=4 * x.channels)
        inner = self.net.each(f"{where}.gelu", ("gelu",), inner)
        out = self.net.linear(f"{where}.out", inner, x.channels, summed=True)
        return self.gated(f"{where}.gate", out, x)

    def block(
        self, where: str, image: Value, text: Value, *, dual: bool, last: bool
    ) -> tuple[Value, Value]:
        """Return image and text as a block leaves them; the last leaves the text as it was.

        Parameters
        ----------
        where : str
            The block's path.
        image, text : Value
        dual : bool
            Whether the image attends to itself besides.
        last : bool
        """
        net, wide = self.net, image.channels
        seen = self.steered(f"{where}.norm1", image, 9 if dual else 6)
        read = self.steered(f"{where}.norm1_context", text, 2 if last else 6)
        asked = self.projected(f"{where}.attn", ("to_q", "to_k", "to_v"), seen)
        added = self.projected(f"{where}.attn", ("add_q_proj", "add_k_proj", "add_v_proj"), read)
        query, key, value = (
            replace(a, size=(a.places + b.places,), origin=joined((a.origin, b.origin)))
            for a, b in zip(asked, added, strict=True)
        )
        mix = net.attention(f"{where}.attn", query, key, value, self.heads)
        made = net.linear(f"{where}.attn.to_out", replace(mix, size=image.size), wide, summed=True)
        if not last:
            rows = replace(mix, size=text.size)
            back = net.linear(f"{where}.attn.to_add_out", rows, wide, summed=True)
            text = self.gated(f"{where}.attn.to_add_out.gate", back, text)
        image = self.gated(f"{where}.attn.to_out.gate", made, image)
        if dual:
            again = self.projected(f"{where}.attn2", ("to_q", "to_k", "to_v"), seen)
            mix = net.attention(f"{where}.attn2", again[0], again[1], again[2], self.heads)
            made = net.linear(f"{where}.attn2.to_out", mix, wide, summed=True)
            image = self.gated(f"{where}.attn2.to_out.gate", made, image)
        image = self.feed(f"{where}.ff", image)
        return image, text if last else self.feed(f"{where}.ff_context", text)


def read_sd3(config: Config) -> tuple[Products, list[str]]:
    """Read ``SD3Transformer2DModel``, and what is taken that the file does not say.

    Raises
    ------
    BitlatheError
        If a value is impossible or not read.
    """
    config = replace(config, defaults=_DEFAULTS)
    _check(config, config.integer("num_attention_heads") * config.integer("attention_head_dim"))
    made = divisible(partial(_built, config))
    if config.get("max_sequence_length") is not None:
        return made, []
    return made, [
        f"a pass is one step of denoising; taken are texts of {_TOKENS} tokens, as the class takes "
        "any: 'max_sequence_length' of the file is of others."
    ]


def _built(config: Config, tensor: Slice) -> Products:
    """Return one chip's share of the transformer."""
    heads, layers = config.integer("num_attention_heads"), config.count("num_layers")
    wide = heads * config.integer("attention_head_dim")
    side, patch = config.integer("sample_size"), config.integer("patch_size")
    tokens = config.integer("max_sequence_length", default=_TOKENS)
    net = Net(tensor)
    image = Value(channels=config.integer("in_channels"), size=(side, side))
    image = net.convolution("pos_embed.proj", image, wide, patch, stride=patch)
    image = net.each("pos_embed.add", ("add",), image)
    text = Value(channels=config.integer("joint_attention_dim"), size=(tokens,))
    text = net.linear("context_embedder", text, wide)
    time = _embedded(net, "timestep_embedder", _FREQUENCIES, wide)
    pooled = _embedded(net, "text_embedder", config.integer("pooled_projection_dim"), wide)
    blocks = _Blocks(
        net=net,
        heads=heads,
        normed=config.get("qk_norm") is not None,
        vector=net.each("time_text_embed.add", ("add",), pooled, time),
    )
    dual = config.items("dual_attention_layers")
    for i in range(layers):
        where = f"transformer_blocks.{i}"
        image, text = blocks.block(where, image, text, dual=i in dual, last=i == layers - 1)
    image = blocks.steered("norm_out", image, 2)
    given = config.get("out_channels") is not None
    left = config.integer("out_channels" if given else "in_channels")
    made = net.linear("proj_out", image, patch**2 * left)
    return net.products(made)


def _check(config: Config, wide: int) -> None:
    """Refuse sizes that do not fit together, and norms of queries and keys that are not read.

    Raises
    ------
    BitlatheError
        If there are any.
    """
    if config.get("qk_norm") not in (None, "rms_norm"):
        raise config.error(
            f"'qk_norm' is {config.get('qk_norm')!r}; it must be 'rms_norm' or null.", "qk_norm"
        )
    if config.integer("caption_projection_dim") != wide:
        raise config.error(
            f"'caption_projection_dim' is {config.get('caption_projection_dim')}; it must be that "
            f"of all heads, {wide}.",
            "caption_projection_dim",
        )
    side, patch = config.integer("sample_size"), config.integer("patch_size")
    if side % patch:
        raise config.error(
            f"'patch_size' is {patch}, which does not divide the 'sample_size' of {side}.",
            "patch_size",
        )
    dual, layers = config.items("dual_attention_layers"), config.count("num_layers")
    if any(type(n) is not int or not 0 <= n < layers for n in dual):
        raise config.error(
            f"'dual_attention_layers' is {dual!r}; it must list numbers of layers, 0 to "
            f"{layers - 1}.",
            "dual_attention_layers",
        )


def _embedded(net: Net, name: str, inputs: int, wide: int) -> Value:
    """Return two matrices of a vector from outside, with an activation between."""
    first = net.linear(f"{name}.linear_1", Value(channels=inputs, size=(1,)), wide, apart=wide)
    inner = net.each(f"{name}.silu", ("silu",), first)
    return net.linear(f"{name}.linear_2", inner, wide, summed=True)
