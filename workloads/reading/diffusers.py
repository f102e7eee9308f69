"""Configurations of diffusers, which name a class: FLUX, DiT, PixArt, SD3, UNets.

Structures follow the class of that name in diffusers 0.42.1.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace

from ..config import Config
from ..products import Products
from ..sizes import check_size
from ..transformer import (
    Attention,
    Head,
    Image,
    JointAttention,
    JointMlp,
    Layers,
    Matrix,
    Mlp,
    SingleBlock,
    Stem,
    Transformer,
)
from ..transformer.diffusion import steered
from .dit import read_dit, read_pixart
from .sd3 import read_sd3
from .unet import read_unet

CLASS_KEY = "_class_name"
_PIXELS = 16  # of a token's side: 8 of the autoencoder, 2 x 2 of them in a token
_SIDE, _TEXT = 1024, 512
_FREQUENCIES = 256  # of the embedding of a time
_FLUX = {
    "patch_size": 1,
    "in_channels": 64,
    "num_layers": 19,
    "num_single_layers": 38,
    "attention_head_dim": 128,
    "num_attention_heads": 24,
    "joint_attention_dim": 4096,
    "pooled_projection_dim": 768,
    "guidance_embeds": False,
}


def read_diffusers(config: Config) -> tuple[Transformer | Products, list[str]]:
    """Read a model by its class, and what is taken that the file does not say.

    Raises
    ------
    BitlatheError
        If the class is not known, or a value is impossible.
    """
    name = config.string(CLASS_KEY)
    if name not in _READ:
        raise config.error(
            f"{CLASS_KEY!r} is {name!r}; of the models of diffusers only "
            f"{', '.join(_READ)} can be read. Others run as a traced torch module.",
            CLASS_KEY,
        )
    return _READ[name](config)


def _flux(config: Config) -> tuple[Transformer, list[str]]:
    config = replace(config, defaults=_FLUX)
    heads, head = config.integer("num_attention_heads"), config.integer("attention_head_dim")
    hidden, text = heads * head, _text(config)
    attention = Attention(
        hidden=hidden,
        heads=heads,
        kv_heads=heads,
        head_dim=head,
        projections=("to_q", "to_k", "to_v"),
        output="to_out",
        qkv_bias=True,
        output_bias=True,
        rotary_dim=head,
        qk_norm="rms_norm",
        qk_norm_width=head,
        vectors=2 * head,
    )
    single = replace(attention, projections=tuple(f"single_{n}" for n in attention.projections))
    names, inner = ("ff_in", "ff_out"), 4 * hidden
    mlp = Mlp(hidden=hidden, inner=inner, names=names, gated=False, bias=True, activation="gelu")
    double = JointAttention(image=attention, text=text), JointMlp(image=mlp, text=text)
    into = Matrix(stage="mlp", name="proj_mlp", outputs=inner, inputs=hidden, bias=True)
    out = Matrix(
        stage="down", name="single_proj_out", outputs=hidden, inputs=hidden + inner, bias=True
    )
    many = config.count("num_layers", least=0), config.count("num_single_layers", least=0)
    kinds = (double, (SingleBlock(attention=single, into=into, out=out),))
    layers = tuple(
        Layers(
            count=count,
            parts=parts,
            norm="layer_norm",
            numbers=tuple(range(first, first + count)),
        )
        for count, parts, first in zip(many, kinds, (0, many[0]), strict=True)
        if count
    )
    if not layers:
        raise config.error("'num_layers' and 'num_single_layers' are 0; give layers.", "num_layers")
    image = _image(config, text)
    shape = Transformer(
        kind="vision",
        hidden=hidden,
        layers=layers,
        stems=tuple(_flux_stems(config, hidden, text)),
        heads=tuple(_flux_heads(config, hidden, image.patches)),
        norm="layer_norm",
        final_norms=1,
        normed_tokens=image.patches,
        image=image,
    )
    return shape, _taken(config, image, text)


def _flux_stems(config: Config, hidden: int, text: int) -> Iterator[Stem]:
    """Yield what makes the text's tokens, and the vector that steers all blocks."""
    wide = config.integer("joint_attention_dim")
    embed = Matrix(stage="embed", name="context_embedder", outputs=hidden, inputs=wide, bias=True)
    yield Stem(matrix=embed, rows=text, elements=text * wide, conv=False, begins=True)
    kinds = [("time", _FREQUENCIES)]
    kinds += [("guidance", _FREQUENCIES)] if config.flag("guidance_embeds", default=False) else []
    kinds += [("pooled_text", config.integer("pooled_projection_dim"))]
    for kind, inputs in kinds:
        for number, width in ((1, inputs), (2, hidden)):
            name = f"{kind}_linear_{number}"
            matrix = Matrix(stage="embed", name=name, outputs=hidden, inputs=width, bias=True)
            yield Stem(matrix=matrix, rows=1, elements=width, conv=False, begins=number == 1)


def _flux_heads(config: Config, hidden: int, patches: int) -> Iterator[Head]:
    """Yield the matrices behind the last block: of what steers its norm, and of each token."""
    steer = replace(steered("norm_out_linear", hidden, 2), stage="head:steer")
    yield Head(matrix=steer, rows_each=1)
    channels = config.get("out_channels")
    left = config.integer("in_channels" if channels is None else "out_channels")
    pixels = config.integer("patch_size") ** 2 * left
    made = Matrix(stage="head", name="proj_out", outputs=pixels, inputs=hidden, bias=True)
    yield Head(matrix=made, rows_each=patches)


def _text(config: Config) -> int:
    return config.integer("max_sequence_length", default=_TEXT)


def _image(config: Config, text: int) -> Image:
    """Return the image as its tokens: of 16 x 16 pixels each, as the autoencoder leaves them.

    Raises
    ------
    BitlatheError
        If tokens do not make up the image.
    """
    given = config.get("image_size")
    sides = given if isinstance(given, list) else [_SIDE if given is None else given] * 2
    if len(sides) != 2:
        raise config.error(
            f"'image_size' is {given!r}; give one integer or two [height, width].", "image_size"
        )
    high, wide = (check_size(f"{config.where('image_size')}: 'image_size'", n) for n in sides)
    if high % _PIXELS or wide % _PIXELS:
        raise config.error(
            f"'image_size' is {given!r}; a token is {_PIXELS} x {_PIXELS} pixels, which must "
            "divide it.",
            "image_size",
        )
    return Image(
        channels=config.integer("in_channels"),
        height=high // _PIXELS,
        width=wide // _PIXELS,
        patch_height=1,
        patch_width=1,
        other_tokens=text,
    )


def _taken(config: Config, image: Image, text: int) -> list[str]:
    """Return what is taken of a run that the class takes of any size."""
    pixels = f"{image.height * _PIXELS} x {image.width * _PIXELS}"
    keys = {"image_size": f"images of {pixels} pixels", "max_sequence_length": f"texts of {text}"}
    left = [said for key, said in keys.items() if config.get(key) is None]
    if not left:
        return []
    return [
        f"a pass is one step of denoising; taken are {' and '.join(left)} tokens, as the class "
        "takes any: 'image_size' (a number, or [height, width]) and 'max_sequence_length' of the "
        "file are of others."
    ]


_READ: Mapping[str, Callable[[Config], tuple[Transformer | Products, list[str]]]] = {
    "FluxTransformer2DModel": _flux,
    "DiTTransformer2DModel": read_dit,
    "PixArtTransformer2DModel": read_pixart,
    "SD3Transformer2DModel": read_sd3,
    "UNet2DConditionModel": read_unet,
}
