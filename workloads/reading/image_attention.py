"""Llama 3.2 Vision: layers that attend to an image, and the tower whose tokens they see.

Structures follow the classes of ``mllama`` in transformers 5.24.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from ..config import Config
from ..families.family import Family
from ..transformer import Attention, Head, Image, Layers, Matrix, Mlp, Part, Table, Transformer
from ..transformer.cross import ImageAttention

_TILES, _PATCHES = 4, 1025  # of the class's tower, where the text stands alone
_ROUND = 8  # tokens of a tile are filled up to a multiple of it
_NORMS = 2  # vectors of a norm: scale and shift
_TOWER = {
    "hidden_size": 1280,
    "num_hidden_layers": 32,
    "num_global_layers": 8,
    "attention_heads": 16,
    "num_channels": 3,
    "intermediate_size": 5120,
    "vision_output_dim": 7680,
    "image_size": 448,
    "patch_size": 14,
    "max_num_tiles": 4,
    "intermediate_layers_indices": [3, 7, 15, 23, 30],
    "supported_aspect_ratios": [[1, 1], [1, 2], [1, 3], [1, 4], [2, 1], [2, 2], [3, 1], [4, 1]],
}
_NAMES = tuple(f"cross_{name}_proj" for name in ("q", "k", "v"))


def crossed(config: Config, family: Family, hidden: int, layers: Sequence[Part]) -> Sequence[Part]:
    """Return the parts of all layers, those that attend to an image in their places.

    Parameters
    ----------
    config, family
        The configuration, and the rules that it is read by.
    hidden : int
    layers : sequence of Part
        The parts, as if all layers attended to the text.

    Raises
    ------
    BitlatheError
        If other than numbers are listed.
    """
    key = family.crossed
    if key is None:
        return layers
    numbers = config.items(key)
    if any(type(n) is not int or n < 0 for n in numbers):  # those beyond the last are none
        raise config.error(f"{key!r} is {numbers!r}; it must list numbers of layers, from 0.", key)
    assert family.attention is not None
    text = layers[0]
    assert isinstance(text, Attention)
    heads = replace(
        text,
        projections=_NAMES,
        output="cross_o_proj",
        rotary_dim=0,
        qk_norm=family.norm,
        qk_norm_width=text.head_dim,
        vectors=2 * text.head_dim,
    )
    part = ImageAttention(heads=heads, tokens=_TILES * _PATCHES)
    return [part if n in numbers else layer for n, layer in enumerate(layers)]


def read_tiled_tower(
    config: Config, text: Transformer
) -> tuple[Transformer, Transformer, list[str]]:
    """Read the tower of an image in tiles, and the text model whose layers see it.

    Parameters
    ----------
    config : Config
        That of the tower.
    text : Transformer
        Its text model.

    Raises
    ------
    BitlatheError
        If sizes are impossible, or do not fit together.
    """
    config = replace(config, defaults=_TOWER)
    side, patch, tiles = (config.integer(k) for k in ("image_size", "patch_size", "max_num_tiles"))
    heads, hidden = config.integer("attention_heads"), config.integer("hidden_size")
    if side % patch:
        raise config.error(
            f"'patch_size' is {patch}, which does not divide the 'image_size' of {side}.",
            "patch_size",
        )
    if hidden % heads:
        raise config.error(
            f"'hidden_size' is {hidden}, which the {heads} heads of 'attention_heads' do not "
            "divide; change one of them.",
            "hidden_size",
        )
    patches = (side // patch) ** 2 + 1
    filled = -(-patches // _ROUND) * _ROUND
    image = Image(
        channels=config.integer("num_channels"),
        height=side * tiles,
        width=side,
        patch_height=patch,
        patch_width=patch,
        other_tokens=tiles * (filled - patches + 1),
        patch_bias=False,
        beside=True,
    )
    head = Head(matrix=_projector(config, text, hidden), rows_each=tiles * patches)
    shape = Transformer(
        kind="vision",
        hidden=hidden,
        layers=_layers(config, hidden, heads),
        heads=(head,),
        norm="layer_norm",
        final_norms=1,
        tables=_positions(config, hidden, tiles, patches),
        vectors=hidden + 2 * _NORMS * hidden + 3,  # a class token, two norms, three gates
        image=image,
    )
    seen = [
        replace(layers, parts=tuple(_seeing(part, tiles * patches) for part in layers.parts))
        for layers in text.layers
    ]
    note = (
        f"layers of 'cross_attention_layers' see an image of {tiles} tiles, {tiles * patches} "
        "tokens, which each prompt brings; without an image they are skipped: part 'text'."
    )
    return shape, replace(text, layers=tuple(seen)), [note]


def _seeing(part: Part, tokens: int) -> Part:
    return replace(part, tokens=tokens) if isinstance(part, ImageAttention) else part


def _projector(config: Config, text: Transformer, hidden: int) -> Matrix:
    """Return the matrix that joins what the layers named, and the last, leave.

    Raises
    ------
    BitlatheError
        If this is not as wide as the file says.
    """
    key, listed = "vision_output_dim", config.items("intermediate_layers_indices")
    depth = config.count("num_hidden_layers")
    if any(type(n) is not int or not 0 <= n <= depth for n in listed):
        raise config.error(
            f"'intermediate_layers_indices' is {listed!r}; it must list numbers from 0 to {depth}.",
            "intermediate_layers_indices",
        )
    wide = hidden * (1 + len(listed))
    if config.integer(key) != wide:
        raise config.error(
            f"{key!r} is {config.integer(key)}; the last layer and {len(listed)} of "
            f"'intermediate_layers_indices' leave {wide}.",
            key,
        )
    name = "multi_modal_projector"
    return Matrix(stage="head", name=name, outputs=text.hidden, inputs=wide, bias=True)


def _positions(config: Config, hidden: int, tiles: int, patches: int) -> tuple[Table, ...]:
    """Return the tables of positions: of patches, and by the shapes of images, of tiles."""
    shapes = len(config.items("supported_aspect_ratios")) + 1
    rows: dict[str, Any] = {
        "positions": patches,
        "tile_positions": shapes * tiles * patches,
        "tiles_before": shapes * tiles,
        "tiles_behind": shapes * tiles,
    }
    return tuple(Table(name=name, rows=count, width=hidden) for name, count in rows.items())


def _layers(config: Config, hidden: int, heads: int) -> tuple[Layers, ...]:
    """Return the layers, and the global ones behind them, whose two parts are gated."""
    attention = Attention(hidden=hidden, heads=heads, kv_heads=heads, head_dim=hidden // heads)
    mlp = Mlp(
        hidden=hidden,
        inner=config.integer("intermediate_size"),
        names=("fc1", "fc2"),
        gated=False,
        bias=True,
        activation="gelu",
    )
    depth, more = config.count("num_hidden_layers"), config.count("num_global_layers")
    return tuple(
        Layers(
            count=count,
            parts=(attention, mlp),
            norm="layer_norm",
            norm_count=2,
            norm_parameters=2 * _NORMS * hidden + gates,
            numbers=tuple(range(first, first + count)),
        )
        for count, first, gates in ((depth, 0, 0), (more, depth, 2))
    )
