"""Configurations of DiT and PixArt (diffusers 0.42.1): images as tokens, steered by one vector."""

from collections.abc import Iterator, Sequence
from dataclasses import replace

from ..config import Config
from ..transformer import Attention, Head, Image, Layers, Matrix, Mlp, Stem, Transformer
from ..transformer.diffusion import steered
from ..transformer.steered import Steered, TextAttention

_FREQUENCIES = 256  # of the embedding of a time
_TEXT = 120  # tokens that the pipeline of PixArt-alpha gives a text
_ALIKE = {
    "num_attention_heads": 16,
    "attention_head_dim": 72,
    "in_channels": 4,
    "num_layers": 28,
    "attention_bias": True,
    "patch_size": 2,
    "activation_fn": "gelu-approximate",
    "num_embeds_ada_norm": 1000,
    "norm_elementwise_affine": False,
}
_DIT = {**_ALIKE, "sample_size": 32, "norm_type": "ada_norm_zero"}
_PIXART = {
    **_ALIKE,
    "sample_size": 128,
    "norm_type": "ada_norm_single",
    "out_channels": 8,
    "cross_attention_dim": 1152,
    "attention_type": "default",
}
_ONLY = ("norm_type", "norm_elementwise_affine", "attention_type")


def read_dit(config: Config) -> tuple[Transformer, list[str]]:
    """Read ``DiTTransformer2DModel``, and what is taken that the file does not say.

    Raises
    ------
    BitlatheError
        If a value is impossible or not read.
    """
    config = _with(config, _DIT)
    hidden = _hidden(config)
    attention, mlp = _attention(config, hidden), _mlp(config, hidden)
    labels = (config.integer("num_embeds_ada_norm") + 1) * hidden  # one stands for no label
    block = (
        Steered(
            inner=attention,
            hidden=hidden,
            name="attention",
            steer=(*_times("norm1_time", hidden), steered("norm1_linear", hidden, 6)),
            vectors=labels,
        ),
        Steered(inner=mlp, hidden=hidden, name="ff"),
    )
    image = _image(config)
    steer = replace(steered("proj_out_1", hidden, 2), stage="head:steer")
    heads = (Head(matrix=steer, rows_each=1), _out(config, "proj_out_2", hidden, image))
    shape = Transformer(
        kind="vision",
        hidden=hidden,
        layers=(_layers(config, block),),
        heads=heads,
        norm="layer_norm",
        final_norms=1,
        normed_tokens=image.patches,
        image=image,
    )
    return shape, []


def read_pixart(config: Config) -> tuple[Transformer, list[str]]:
    """Read ``PixArtTransformer2DModel``, and what is taken that the file does not say.

    Raises
    ------
    BitlatheError
        If a value is impossible or not read.
    """
    config = _with(config, _PIXART)
    hidden, text = _hidden(config), config.integer("max_sequence_length", default=_TEXT)
    attention, mlp = _attention(config, hidden), _mlp(config, hidden)
    names = tuple(f"attn2_{name}" for name in attention.projections)
    crossed = replace(attention, projections=names, output="attn2_to_out")
    wide = config.integer("cross_attention_dim")
    block = (
        Steered(inner=attention, hidden=hidden, name="attention", vectors=6 * hidden),
        TextAttention(heads=crossed, text=text, wide=wide),
        Steered(inner=mlp, hidden=hidden, name="ff"),
    )
    image = _image(config)
    shape = Transformer(
        kind="vision",
        hidden=hidden,
        layers=(_layers(config, block),),
        stems=tuple(_pixart_stems(config, hidden, text)),
        heads=(_out(config, "proj_out", hidden, image),),
        norm="layer_norm",
        final_norms=1,
        normed_tokens=image.patches,
        vectors=2 * hidden,
        image=image,
    )
    if config.get("max_sequence_length") is not None:
        return shape, []
    return shape, [
        f"a pass is one step of denoising; taken are texts of {text} tokens, as the class takes "
        "any: 'max_sequence_length' of the file is of others."
    ]


def _with(config: Config, defaults: dict[str, object]) -> Config:
    """Return a configuration with its class's defaults, of values that are read.

    Raises
    ------
    BitlatheError
        If a key asks for another block.
    """
    config = replace(config, defaults=defaults)
    for key in _ONLY:
        if key in defaults and config.get(key) != defaults[key]:
            raise config.error(
                f"{key!r} is {config.get(key)!r}; only {defaults[key]!r} is supported.", key
            )
    if config.get("activation_fn") not in ("gelu", "gelu-approximate"):
        raise config.error(
            f"'activation_fn' is {config.get('activation_fn')!r}; it must be 'gelu' or "
            "'gelu-approximate'.",
            "activation_fn",
        )
    return config


def _hidden(config: Config) -> int:
    return config.integer("num_attention_heads") * config.integer("attention_head_dim")


def _attention(config: Config, hidden: int) -> Attention:
    heads = config.integer("num_attention_heads")
    return Attention(
        hidden=hidden,
        heads=heads,
        kv_heads=heads,
        head_dim=config.integer("attention_head_dim"),
        projections=("to_q", "to_k", "to_v"),
        output="to_out",
        qkv_bias=config.flag("attention_bias", default=True),
        output_bias=True,
    )


def _mlp(config: Config, hidden: int) -> Mlp:
    names = ("ff_in", "ff_out")
    return Mlp(
        hidden=hidden, inner=4 * hidden, names=names, gated=False, bias=True, activation="gelu"
    )


def _layers(config: Config, block: Sequence[Steered | TextAttention]) -> Layers:
    count = config.count("num_layers")
    return Layers(count=count, parts=tuple(block), norm="layer_norm", numbers=tuple(range(count)))


def _times(name: str, width: int, stage: str = "steer") -> tuple[Matrix, Matrix]:
    """Return the two matrices that embed a time, or another number."""
    first, second = (
        Matrix(stage=stage, name=f"{name}_linear_{i}", outputs=width, inputs=inputs, bias=True)
        for i, inputs in ((1, _FREQUENCIES), (2, width))
    )
    return first, second


def _pixart_stems(config: Config, hidden: int, text: int) -> Iterator[Stem]:
    """Yield what embeds the text, the time and the size of the image, ahead of all blocks."""
    if config.get("caption_channels") is not None:
        wide = config.integer("caption_channels")
        for i, inputs in ((1, wide), (2, hidden)):
            name = f"caption_linear_{i}"
            matrix = Matrix(stage="embed", name=name, outputs=hidden, inputs=inputs, bias=True)
            yield Stem(matrix=matrix, rows=text, elements=text * inputs, conv=False, begins=i == 1)
    sized = config.flag("use_additional_conditions", default=config.integer("sample_size") == 128)
    kinds = [("resolution", hidden // 3, 2), ("aspect_ratio", hidden // 3, 1)] if sized else []
    for kind, width, rows in (*kinds, ("time", hidden, 1)):
        for i, matrix in enumerate(_times(kind, width, "embed")):
            elements = rows * matrix.inputs
            yield Stem(matrix=matrix, rows=rows, elements=elements, conv=False, begins=i == 0)
    steer = replace(steered("adaln_single_linear", hidden, 6), stage="embed")
    yield Stem(matrix=steer, rows=1, elements=hidden, conv=False)


def _image(config: Config) -> Image:
    """Return the image as the autoencoder leaves it.

    Raises
    ------
    BitlatheError
        If patches do not make it up.
    """
    side, patch = config.integer("sample_size"), config.integer("patch_size")
    if side % patch:
        raise config.error(
            f"'patch_size' is {patch}, which does not divide the 'sample_size' of {side}.",
            "patch_size",
        )
    return Image(
        channels=config.integer("in_channels"),
        height=side,
        width=side,
        patch_height=patch,
        patch_width=patch,
        other_tokens=0,
    )


def _out(config: Config, name: str, hidden: int, image: Image) -> Head:
    channels = config.get("out_channels")
    left = config.integer("in_channels" if channels is None else "out_channels")
    pixels = config.integer("patch_size") ** 2 * left
    made = Matrix(stage="head", name=name, outputs=pixels, inputs=hidden, bias=True)
    return Head(matrix=made, rows_each=image.patches)
