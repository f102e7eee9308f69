"""Transformers: from the keys of a config.json to embeddings, layers of parts, and heads."""

from dataclasses import replace
from typing import Any

from ...datatypes.base.errors import shown
from ..config import Config
from ..families.family import Family
from ..families.outputs import Output
from ..transformer import Head, Image, Layers, Matrix, Stem, Table, Transformer
from .disentangled import disentangled_positions
from .images import image_sides
from .layers import read_layers
from .streams import around_layers
from .values import chosen, holds, norm_vectors, with_norm


def read_transformer(config: Config, family: Family) -> Transformer:
    """Read the sizes of a transformer from the object of its config.json.

    Raises
    ------
    BitlatheError
        If a required key is missing or a value is impossible; file, line and key are named.
    """
    family = with_norm(config, family)
    hidden = config.integer(chosen(config, family.keys.hidden))
    narrow = _narrow(config, family, hidden)
    layers = read_layers(config, family, hidden)
    if family.kind == "vision":
        embeddings = _image(config, family, hidden)
    elif family.sound:
        embeddings = _sound(config, family, hidden)
    else:
        embeddings = _words(config, family, hidden, narrow)
    final = family.final_norms if holds(config, family.final_norm) else 0
    vectors = embeddings.pop("vectors", 0)
    vectors += final * norm_vectors(config, family) * hidden
    vectors += family.embedding_norms * norm_vectors(config, family) * narrow
    embeddings["tables"] += _relative_positions(config, family, layers)
    relative, normed = disentangled_positions(config, family, hidden)
    embeddings["tables"] += relative
    vectors += normed
    more = around_layers(config, family, hidden, sum(each.count for each in layers))
    vectors += more["vectors"]
    embeddings["tables"] += more["tables"]
    embeddings["ahead"] = (*embeddings.get("ahead", ()), *more["ahead"])
    encoder = None if family.encoder is None else read_transformer(config, family.encoder)
    return Transformer(
        kind=family.kind,
        encoder=encoder,
        hidden=hidden,
        layers=layers,
        heads=(*more["heads"], *_heads(config, family, hidden, narrow)),
        tied=_tied(config, family),
        norm=family.norm,
        final_norms=final,
        vectors=vectors,
        **embeddings,
    )


def _tied(config: Config, family: Family) -> bool:
    """Return whether the head is the table of words."""
    if not family.tied_by_key:
        return family.tied
    return config.flag(
        chosen(config, (*family.tied_keys, "tie_word_embeddings")), default=family.tied
    )


def _narrow(config: Config, family: Family, hidden: int) -> int:
    """Return the width of the words' table."""
    key = family.narrow_embedding
    return hidden if key is None else config.integer(key, default=hidden)


def head_of(config: Config, family: Family) -> str | None:
    """Return the known ending of the class that ``architectures`` names, None if there is none."""
    named = config.items("architectures")
    known = sorted(family.outputs, key=len, reverse=True)
    return next((end for end in known if named and str(named[0]).endswith(end)), None)


def _heads(config: Config, family: Family, hidden: int, narrow: int) -> tuple[Head, ...]:
    """Return the matrices behind the last layer; one of no outputs is left out."""
    wanted = family.outputs[head_of(config, family) or next(iter(family.outputs))]
    heads: list[Head] = []
    branches: dict[str, int] = {}  # width that a "head:x" leaves to "tail:x"
    for output in wanted:
        kind, _, branch = output.stage.partition(":")
        inputs = branches[branch] if kind == "tail" else hidden * output.joined
        width = _outputs(config, output, hidden, narrow)
        if width:
            heads.append(_head(config, family, output, width, inputs))
            branches[branch] = width
    if not family.narrow_head or narrow == hidden:
        return tuple(heads)
    back = Matrix(
        stage="head:narrow",
        name="project_out",
        outputs=narrow,
        inputs=hidden,
        bias=family.narrow_bias,
    )
    behind = (
        replace(head, matrix=replace(head.matrix, stage="tail:narrow", inputs=narrow))
        for head in heads
    )
    return (Head(matrix=back, tokens=heads[0].tokens if heads else "all"), *behind)


def _outputs(config: Config, output: Output, hidden: int, narrow: int) -> int:
    """Return the outputs of a matrix behind the last layer."""
    if output.outputs == "labels":
        return _labels(config)
    if output.outputs == "vocabulary":
        return config.integer("vocab_size")
    if output.outputs == "output_vocab_size":
        return config.integer(output.outputs, default=config.integer("vocab_size"))
    if output.outputs in ("projection_dim", "projection_size"):
        return config.integer(output.outputs, default=hidden)
    return {"hidden": hidden, "narrow": narrow, "pair": 2}[output.outputs]


def _head(config: Config, family: Family, output: Output, width: int, inputs: int) -> Head:
    return Head(
        matrix=Matrix(
            stage=output.stage,
            name=output.name,
            outputs=width,
            inputs=inputs,
            bias=holds(config, output.bias),
        ),
        tokens=output.tokens,
        norm=norm_vectors(config, family) * width if output.norm else 0,
        words=output.outputs in ("vocabulary", "output_vocab_size"),
    )


def _labels(config: Config) -> int:
    """Return the number of classes; the class's default is 2, none where no class is named."""
    named = config.get("id2label")
    if named is not None and not isinstance(named, dict):
        raise config.error(
            f"'id2label' is {shown(named)}; it must be an object of labels, as {{'0': 'yes'}}.",
            "id2label",
        )
    known = len(named) if isinstance(named, dict) else 2 if config.items("architectures") else 0
    return config.integer("num_labels", default=known, least=0)


def _words(config: Config, family: Family, hidden: int, narrow: int) -> dict[str, Any]:
    """Return the tables of words, positions and token types, and the longest context.

    Positions and token types are as wide as the words where the head is not (ALBERT).
    """
    wide = hidden if family.narrow_head else narrow
    tables = []
    if family.words:
        rows = config.integer("vocab_size") + family.more_words
        words = Table(name="words", rows=rows, width=narrow)
        tables.append(words)
        if family.words_each and not _tied(config, family):
            tables += [replace(words, name=f"{which}_words") for which in ("encoder", "decoder")]
    longest = None
    if holds(config, family.positions_learned):
        given = config.integer(chosen(config, family.keys.positions))
        rows, longest = given + family.position_offset, given - family.positions_unused
        tables.append(Table(name="positions", rows=rows, width=wide))
    if family.token_types:
        types = config.integer("type_vocab_size", least=0)
        tables.append(Table(name="token_types", rows=types, width=wide))
    project = Matrix(
        stage="embed", name="project_in", outputs=hidden, inputs=narrow, bias=family.narrow_bias
    )
    led = narrow != hidden or family.narrow_always
    ahead = (project,) if led else ()
    return {"tables": tuple(tables), "longest_context": longest, "ahead": ahead}


def _relative_positions(
    config: Config, family: Family, layers: tuple[Layers, ...]
) -> tuple[Table, ...]:
    """Return the tables of relative positions: of the first layer, or of each."""
    if family.relative is None:
        return ()
    heads = config.integer(chosen(config, family.keys.heads))
    table = Table(name="relative_positions", rows=config.integer(family.relative), width=heads)
    depth = sum(each.count for each in layers)
    return (table,) * (depth if family.relative_each_layer else 1)


def _sound(config: Config, family: Family, hidden: int) -> dict[str, Any]:
    """Return the convolutions of a spectrum, three taps each, the second of stride 2.

    Twice as many steps of time as tokens go in.
    """
    bands, tokens = (
        config.integer("num_mel_bins"),
        config.integer(chosen(config, family.keys.positions)),
    )
    first, second = (
        Matrix(stage="embed", name=name, outputs=hidden, inputs=3 * wide, bias=True)
        for name, wide in (("conv1", bands), ("conv2", hidden))
    )
    stems = (
        Stem(matrix=first, rows=2 * tokens, elements=2 * tokens * bands),
        Stem(matrix=second, rows=tokens, elements=2 * tokens * hidden),
    )
    positions = Table(name="positions", rows=tokens, width=hidden)
    return {"stems": stems, "tables": (positions,), "sound_tokens": tokens}


def _image(config: Config, family: Family, hidden: int) -> dict[str, Any]:
    """Return the image, the table of positions, and the class token."""
    keys = family.image_keys
    frames = 1 if keys.frames is None else config.integer(keys.frames)
    channels = config.integer(keys.channels) * frames
    sides, patches = image_sides(config, family)
    for side, patch in zip(sides, patches, strict=True):
        if patch > side or (family.whole_patches and side % patch):
            raise config.error(
                f"'patch_size' is {patch}, which does not divide the 'image_size' of {side}.",
                "patch_size",
            )
    image = Image(
        channels=channels,
        height=sides[0],
        width=sides[1],
        patch_height=patches[0],
        patch_width=patches[1],
        other_tokens=family.other_tokens,
        patch_bias=holds(config, family.patch_bias),
    )
    rows = image.tokens if keys.positions is None else config.integer(keys.positions)
    positions = Table(name="positions", rows=rows, width=hidden)
    learned = keys.positions is not None or holds(config, family.positions_learned)
    tables = (positions,) if learned else ()
    others = image.other_tokens + holds(config, family.mask_token)
    return {"image": image, "tables": tables, "vectors": others * hidden}
