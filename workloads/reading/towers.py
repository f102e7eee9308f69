"""Towers beside a text model: from the keys of a config.json to a model of images, joined to it."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from fractions import Fraction
from functools import partial

from ..config import Config
from ..families import FAMILIES
from ..families.towers import TOWERS, Join, Tower
from ..products import Products
from ..transformer import Head, Matrix, Transformer
from .gemma3n_towers import GEMMA3N_TOWERS
from .gemma4_towers import GEMMA4_EMBEDDERS, GEMMA4_TOWERS
from .image_attention import read_tiled_tower
from .images import merged_grid
from .keys import check_keys
from .listed_towers import Towers, read_listed
from .sound_towers import (
    read_qwen2_5_omni_tower,
    read_qwen2_audio_tower,
    read_qwen3_omni_tower,
    read_voxtral_tower,
)
from .transformer import read_transformer
from .values import norm_vectors, renamed


def read_towers(
    config: Config, text: Transformer
) -> tuple[dict[str, tuple[str, Transformer | Products]], Transformer, list[str]]:
    """Read the towers of a model around a text model: images that become tokens of its width.

    Parameters
    ----------
    config : Config
        That of the whole model.
    text : Transformer
        Its text model.

    Returns
    -------
    towers : dict of str to (str, Transformer or Products)
        By the name of its part, e.g. ``"vision"``, each with its ``model_type``; empty where the
        tower's class is not known.
    text : Transformer
        The text model, with what it has for the towers.
    notes : list of str
        What is taken of the towers that the file does not say, a sentence each.
    """
    whole = str(config.data.get("model_type"))
    towers: dict[str, tuple[str, Transformer | Products]] = {}
    notes: list[str] = []
    tower = TOWERS.get(whole)
    if tower is not None and isinstance(config.data.get(tower.key), dict):
        towers, text, notes = _read_tower(config, tower, text)
    if whole in LISTED:
        listed, said = LISTED[whole](config, text.hidden)
        towers |= {part: (f"{whole}_{part}", made) for part, made in listed.items()}
        notes += said
    return towers, text, notes


def _read_tower(
    config: Config, tower: Tower, text: Transformer
) -> tuple[dict[str, tuple[str, Transformer | Products]], Transformer, list[str]]:
    """Read a tower that is a transformer, as `read_towers` does."""
    notes: list[str] = []
    own = config.child(tower.key)
    if tower.join == "tiled":
        joined, text, notes = read_tiled_tower(own, text)
        return {tower.key.removesuffix("_config"): (tower.family, joined)}, text, notes
    kind = tower.family if own.get("model_type") is None else own.string("model_type")
    if kind == config.data["model_type"]:  # files of earlier releases name the whole model here
        kind = tower.family
    rules = FAMILIES.get(kind)
    if rules is None or rules.kind != "vision":
        return {}, text, []
    data = renamed(own.data, rules.renamed)
    own = replace(own, data={**data, "model_type": kind, "architectures": ["Model"]})
    own = replace(own, defaults={**rules.sizes, **rules.defaults})
    for _ in check_keys(own, kind, rules):
        pass  # what it ignores is no news here
    shape = read_transformer(own, rules)
    side = rules.image_keys.side
    if side is not None and "image_size" not in own.data:
        notes.append(
            f"images are taken as {side} x {side} pixels, as {kind} takes any: 'image_size' in "
            f"{tower.key!r}, a number or [height, width], is of others."
        )
    of = own if tower.join in _OF_TOWER else config
    joined = _JOINED[tower.join](of, tower, shape, text)
    if tower.join == "projected":
        wide = config.integer("projection_dim", default=512)
        own_head = _matrix("text_projection", wide, text.hidden, rows=1)
        text = _joined(replace(text, heads=()), own_head)
    text = _joined(text, vectors=tower.scales)
    return {tower.key.removesuffix("_config"): (kind, joined)}, text, notes


def _joined(shape: Transformer, *heads: Head, vectors: int = 0) -> Transformer:
    return replace(shape, heads=(*shape.heads, *heads), vectors=shape.vectors + vectors)


def _matrix(
    name: str, outputs: int, inputs: int, *, rows: int, bias: bool = False, stage: str = "head"
) -> Head:
    """Return a matrix behind the tower, of so many rows an image."""
    made = Matrix(stage=stage, name=name, outputs=outputs, inputs=inputs, bias=bias)
    return Head(matrix=made, rows_each=rows)


def _patches(shape: Transformer) -> int:
    assert shape.image is not None
    return shape.image.patches


def _layers_used(config: Config) -> int:
    """Return how many layers' results are joined: one, or those that a list names."""
    used = config.get("vision_feature_layer")
    return len(used) if isinstance(used, list) and used else 1


def _two(config: Config, tower: Tower, shape: Transformer, text: Transformer) -> Transformer:
    bias, rows = (
        config.flag("multimodal_projector_bias", default=True),
        _selected(config, tower, shape),
    )
    wide = shape.hidden * _layers_used(config)
    return _joined(
        shape,
        _matrix("linear_1", text.hidden, wide, rows=rows, bias=bias, stage="head:join"),
        _matrix("linear_2", text.hidden, text.hidden, rows=rows, bias=bias, stage="tail:join"),
        vectors=text.hidden * tower.newline,
    )


def _selected(config: Config, tower: Tower, shape: Transformer) -> int:
    """Return the tokens of an image that are joined: all, or all but the first.

    Raises
    ------
    BitlatheError
        If the strategy is unknown, or nothing is left.
    """
    key = "vision_feature_select_strategy"
    strategy, tokens = config.get(key) or tower.selected, shape.fixed_tokens or 0
    if strategy not in ("default", "full") or tokens - (strategy == "default") < 1:
        raise config.error(
            f"{key!r} is {strategy!r}, of {tokens} tokens; it must be 'default', which drops the "
            "first one, or 'full'.",
            key,
        )
    return tokens - (strategy == "default")


def _one(config: Config, tower: Tower, shape: Transformer, text: Transformer) -> Transformer:
    head = _matrix("projector", text.hidden, shape.hidden, rows=_patches(shape), bias=True)
    return _joined(shape, head)


def _square(config: Config, key: str, default: int, shape: Transformer) -> int:
    """Return the patches that become one token: the square of a key's value."""
    side = config.integer(key, default=default)
    if _patches(shape) % side**2:
        raise config.error(
            f"{key!r} is {side}, whose square does not divide the {_patches(shape)} patches of an "
            "image.",
            key,
        )
    return side**2


def _shuffled(config: Config, tower: Tower, shape: Transformer, text: Transformer) -> Transformer:
    many = _square(config, "scale_factor", 2, shape)
    rows = _patches(shape) // many
    return _joined(shape, _matrix("projector", text.hidden, shape.hidden * many, rows=rows))


def _folded(config: Config, tower: Tower, shape: Transformer, text: Transformer) -> Transformer:
    ratio = config.data.get("downsample_ratio", 0.5)
    side = int(1 / ratio) if isinstance(ratio, int | float) and 0 < ratio <= 1 else 0
    patches = _patches(shape)
    if not side or patches % side**2:
        raise config.error(
            f"'downsample_ratio' is {ratio!r}; it must be a share, as 0.5, whose inverse squared "
            f"divides the {patches} patches of an image.",
            "downsample_ratio",
        )
    rows, wide = patches // side**2, shape.hidden * side**2
    return _joined(
        shape,
        _matrix("linear_1", text.hidden, wide, rows=rows, bias=True, stage="head:join"),
        _matrix("linear_2", text.hidden, text.hidden, rows=rows, bias=True, stage="tail:join"),
        vectors=2 * wide,
    )


def _unshuffled(config: Config, tower: Tower, shape: Transformer, text: Transformer) -> Transformer:
    many = _square(config, "downsample_factor", 2, shape)
    rows, wide = _patches(shape) // many, shape.hidden * many
    inner = config.integer("projector_hidden_size", default=2560)
    bias = config.flag("projector_bias", default=True)
    normed = config.flag("projector_use_layernorm", default=True)
    return _joined(
        shape,
        _matrix("linear_1", inner, wide, rows=rows, bias=bias, stage="head:join"),
        _matrix("linear_2", text.hidden, inner, rows=rows, bias=bias, stage="tail:join"),
        vectors=2 * wide * normed,
    )


def _downsampled(
    config: Config, tower: Tower, shape: Transformer, text: Transformer
) -> Transformer:
    many = _square(config, "spatial_merge_size", 2, shape)
    rows, left = _patches(shape) // many, config.integer("out_hidden_size")
    inner, joint = config.integer("intermediate_size"), shape.hidden * many
    sizes = {"proj": (left, left), "gate_proj": (inner, left), "up_proj": (inner, left)}
    sizes["down_proj"] = (left, inner)
    return _joined(
        shape,
        _matrix("downsample", left, joint, rows=rows, bias=True, stage="head:merger"),
        *(
            _matrix(f"merger_{name}", *of, rows=rows, stage="tail:merger")
            for name, of in sizes.items()
        ),
        vectors=2 * left,
    )


def _pooled(config: Config, tower: Tower, shape: Transformer, text: Transformer) -> Transformer:
    rows = config.integer("mm_tokens_per_image", default=256)
    head = _matrix("projector", text.hidden, shape.hidden, rows=rows)
    return _joined(shape, head, vectors=shape.hidden)


def _merged(config: Config, tower: Tower, shape: Transformer, text: Transformer) -> Transformer:
    many = _square(config, "spatial_merge_size", 2, shape)
    rows, bias = _patches(shape) // many, config.flag("multimodal_projector_bias", default=False)
    wide = shape.hidden * _layers_used(config)
    return _joined(
        shape,
        _matrix("merger", shape.hidden, shape.hidden * many, rows=rows, stage="head:merge"),
        _matrix("linear_1", text.hidden, wide, rows=rows, bias=bias, stage="tail:merge"),
        _matrix("linear_2", text.hidden, text.hidden, rows=rows, bias=bias, stage="tail:merge"),
        vectors=shape.hidden,
    )


def _projected(config: Config, tower: Tower, shape: Transformer, text: Transformer) -> Transformer:
    wide = config.integer("projection_dim", default=512)
    return _joined(shape, _matrix("visual_projection", wide, shape.hidden, rows=1))


def _patched(config: Config, tower: Tower, shape: Transformer, text: Transformer) -> Transformer:
    rules = FAMILIES[config.string("model_type")]
    high, wide = merged_grid(config, rules)
    many = config.integer("spatial_merge_size") ** 2
    assert tower.width is not None
    left, joint = config.integer(tower.width), shape.hidden * many
    deep = config.items(_DEEP) if _DEEP in rules.defaults else ()
    heads: list[Head] = []
    for name in (*(f"deepstack_{i}" for i in range(len(deep))), "merger"):
        for end, number, outputs in (("head", 1, joint), ("tail", 2, left)):
            where, named = f"{end}:{name}", f"{name}_fc{number}"
            made = _matrix(named, outputs, joint, rows=high * wide, bias=True, stage=where)
            heads.append(made)
    norms = norm_vectors(config, rules) * (shape.hidden + len(deep) * joint)
    return _joined(shape, *heads, vectors=norms)


def _adapted(config: Config, tower: Tower, shape: Transformer, text: Transformer) -> Transformer:
    ratio = config.get("pixel_shuffle_ratio")
    share = isinstance(ratio, int | float) and 0 < ratio <= 1
    fewer = Fraction(ratio) ** 2 if share else Fraction(0)
    if not fewer or (_patches(shape) * fewer).denominator != 1:
        raise config.error(
            f"'pixel_shuffle_ratio' is {ratio!r}; it must be a share, as 0.5, whose square times "
            f"the {_patches(shape)} patches of an image is whole.",
            "pixel_shuffle_ratio",
        )
    rows = int(_patches(shape) * fewer)
    inner = config.integer("intermediate_size")
    into, out = (config.integer(f"projector_{end}_dim") for end in ("input", "output"))
    left = config.integer("vision_output_dim")
    return _joined(
        shape,
        _matrix("adapter_fc1", into, inner, rows=rows, stage="head:adapter"),
        _matrix("adapter_fc2", out, out, rows=rows, stage="tail:adapter"),
        _matrix("projector", text.hidden, left, rows=rows, stage="tail:adapter"),
    )


LISTED: Mapping[str, Callable[[Config, int], Towers]] = {
    "gemma3n": partial(read_listed, GEMMA3N_TOWERS),
    "gemma4": partial(read_listed, GEMMA4_TOWERS),
    "gemma4_unified": partial(read_listed, GEMMA4_EMBEDDERS),
    "qwen2_audio": read_qwen2_audio_tower,
    "qwen2_5_omni_thinker": read_qwen2_5_omni_tower,
    "qwen3_omni_moe_thinker": read_qwen3_omni_tower,
    "voxtral": read_voxtral_tower,
}
"""Readers of towers that are lists of products."""
_DEEP = "deepstack_visual_indexes"
_OF_TOWER = (
    "patched",
    "adapted",
    "downsampled",
)  # joins that are read from the tower's configuration
_Joining = Callable[[Config, Tower, Transformer, Transformer], Transformer]
_JOINED: Mapping[Join, _Joining] = {
    "two": _two,
    "one": _one,
    "shuffled": _shuffled,
    "folded": _folded,
    "unshuffled": _unshuffled,
    "downsampled": _downsampled,
    "pooled": _pooled,
    "merged": _merged,
    "patched": _patched,
    "adapted": _adapted,
    "projected": _projected,
    "none": lambda config, tower, shape, text: shape,
}
