"""Towers beside a text model: from the keys of a config.json to a model of images, joined to it."""

from collections.abc import Callable, Mapping
from dataclasses import replace

from ..config import Config
from ..families import FAMILIES
from ..families.towers import TOWERS, Join, Tower
from ..transformer import Head, Matrix, Transformer
from .keys import check_keys
from .transformer import read_transformer


def read_towers(
    config: Config, text: Transformer
) -> tuple[dict[str, tuple[str, Transformer]], Transformer]:
    """Read the towers of a model around a text model: images that become tokens of its width.

    Parameters
    ----------
    config : Config
        That of the whole model.
    text : Transformer
        Its text model.

    Returns
    -------
    towers : dict of str to (str, Transformer)
        By the name of its part, e.g. ``"vision"``, each with its ``model_type``; empty where the
        tower's class is not known.
    text : Transformer
        The text model, with what it has for the towers.
    """
    tower = TOWERS.get(str(config.data.get("model_type")))
    if tower is None or not isinstance(config.data.get(tower.key), dict):
        return {}, text
    own = config.child(tower.key)
    kind = own.data.get("model_type", tower.family)
    rules = FAMILIES.get(kind)
    if rules is None or rules.kind != "vision":
        return {}, text
    own = replace(own, data={**own.data, "model_type": kind, "architectures": ["Model"]})
    own = replace(own, defaults={**rules.sizes, **rules.defaults})
    for _ in check_keys(own, kind, rules):
        pass  # what it ignores is no news here
    shape = read_transformer(own, rules)
    joined = _JOINED[tower.join](config, tower, shape, text)
    if tower.join == "projected":
        wide = config.integer("projection_dim", default=512)
        own_head = _matrix("text_projection", wide, text.hidden, rows=1)
        text = _joined(replace(text, heads=()), own_head)
    text = _joined(text, vectors=tower.scales)
    return {tower.key.removesuffix("_config"): (kind, joined)}, text


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
    bias, rows = config.flag("multimodal_projector_bias", default=True), _selected(config, shape)
    wide = shape.hidden * _layers_used(config)
    return _joined(
        shape,
        _matrix("linear_1", text.hidden, wide, rows=rows, bias=bias, stage="head:join"),
        _matrix("linear_2", text.hidden, text.hidden, rows=rows, bias=bias, stage="tail:join"),
        vectors=text.hidden * tower.newline,
    )


def _selected(config: Config, shape: Transformer) -> int:
    """Return the tokens of an image that are joined: all, or all but the first.

    Raises
    ------
    BitlatheError
        If the strategy is unknown, or nothing is left.
    """
    key = "vision_feature_select_strategy"
    strategy, tokens = config.get(key) or "default", shape.fixed_tokens or 0
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


_Joining = Callable[[Config, Tower, Transformer, Transformer], Transformer]
_JOINED: Mapping[Join, _Joining] = {
    "two": _two,
    "one": _one,
    "shuffled": _shuffled,
    "pooled": _pooled,
    "merged": _merged,
    "projected": _projected,
    "none": lambda config, tower, shape, text: shape,
}
