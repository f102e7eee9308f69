"""What stands behind the last layer of a model, by the class that ``architectures`` names."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Literal

from ..gemm import HEAD

Rule = bool | tuple[str, bool]
"""True, false, or the key that says so with its default."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Output:
    """A matrix behind the last layer.

    ``stage``: "head" reads what the last layer leaves, "tail:x" what "head:x" leaves. ``outputs``
    are the hidden width, that of the words' table, the vocabulary, the labels, two, or the width of
    the space that images and texts share, from one of two keys; or as many words as
    ``output_vocab_size`` says, all where it is left out. ``joined``: so many tokens'
    vectors are its input.
    ``tokens``: all, one of each sequence, or as many as logits are wanted of. ``bias`` is a rule.
    ``norm``: a norm follows.
    """

    name: str
    stage: str = "head"
    outputs: Literal[
        "hidden", "narrow", "vocabulary", "output_vocab_size", "labels", "pair",
        "projection_dim", "projection_size",
    ] = "labels"  # fmt: skip
    tokens: Literal["all", "one", "logits"] = "one"
    bias: Rule = True
    norm: bool = False
    joined: int = 1


Outputs = Mapping[str, tuple[Output, ...]]

LM_HEAD = Output(name=HEAD, outputs="vocabulary", tokens="logits", bias=False)
_SCORE = Output(name="score", bias=False)
_POOLER = Output(name="pooler", stage="head:pooled", outputs="hidden")
_CLASSIFIER = Output(name="classifier")
_WORDS = (
    Output(name="mlm_transform", stage="head:words", outputs="hidden", tokens="all", norm=True),
    Output(name="mlm_decoder", stage="tail:words", outputs="vocabulary", tokens="all"),
)

DECODER: Outputs = {
    "ForCausalLM": (LM_HEAD,),
    "LMHeadModel": (LM_HEAD,),
    "ForConditionalGeneration": (LM_HEAD,),
    "Model": (),
    "ForSequenceClassification": (_SCORE,),
    "ForTokenClassification": (replace(_SCORE, tokens="all", bias=True),),
}
SEQ2SEQ: Outputs = {
    "ForConditionalGeneration": (LM_HEAD,),
    "MTModel": (LM_HEAD,),
    "Model": (),
}
BIASED_DECODER: Outputs = {**DECODER, "ForCausalLM": (replace(LM_HEAD, bias=True),)}
BERT: Outputs = {
    "Model": (_POOLER,),
    "ForMaskedLM": _WORDS,
    "ForPreTraining": (
        _POOLER,
        *_WORDS,
        Output(name="seq_relationship", stage="tail:pooled", outputs="pair"),
    ),
    "ForSequenceClassification": (_POOLER, replace(_CLASSIFIER, stage="tail:pooled")),
    "ForTokenClassification": (replace(_CLASSIFIER, tokens="all"),),
    "ForQuestionAnswering": (replace(_CLASSIFIER, name="qa_outputs", tokens="all"),),
}
_CLASSIFIED: tuple[Output, ...] = (
    Output(name="classifier_dense", stage="head:label", outputs="hidden"),
    replace(_CLASSIFIER, stage="tail:label"),
)
_TOKENS: Outputs = {
    "ForTokenClassification": (replace(_CLASSIFIER, tokens="all"),),
    "ForQuestionAnswering": (replace(_CLASSIFIER, name="qa_outputs", tokens="all"),),
}
ROBERTA: Outputs = {
    "Model": (_POOLER,),
    "ForMaskedLM": _WORDS,
    "ForSequenceClassification": _CLASSIFIED,
    **_TOKENS,
}
DEBERTA: Outputs = {
    "Model": (),
    "ForMaskedLM": _WORDS,
    "ForSequenceClassification": (_POOLER, replace(_CLASSIFIER, stage="tail:pooled")),
    **_TOKENS,
}
DISTILBERT: Outputs = {
    "Model": (),
    "ForMaskedLM": _WORDS,
    "ForSequenceClassification": _CLASSIFIED,
    **_TOKENS,
}
ALBERT: Outputs = {
    "Model": (_POOLER,),
    "ForMaskedLM": (replace(_WORDS[0], outputs="narrow"), _WORDS[1]),
    "ForSequenceClassification": (_POOLER, replace(_CLASSIFIER, stage="tail:pooled")),
    **_TOKENS,
}
_HEAD = Output(
    name="head_dense", stage="head:dense", outputs="hidden", tokens="all", norm=True,
    bias=("classifier_bias", False),
)  # fmt: skip
MODERNBERT: Outputs = {
    "Model": (),
    "ForMaskedLM": (_HEAD, replace(_WORDS[1], stage="tail:dense", bias=("decoder_bias", True))),
    "ForSequenceClassification": (
        replace(_HEAD, tokens="one"),
        replace(_CLASSIFIER, stage="tail:dense"),
    ),
    "ForTokenClassification": (_HEAD, replace(_CLASSIFIER, stage="tail:dense", tokens="all")),
}
VIT: Outputs = {
    "ForImageClassification": (_CLASSIFIER,),
    "Model": (_POOLER,),
}
DEIT: Outputs = {
    "ForImageClassification": (_CLASSIFIER,),
    "ForImageClassificationWithTeacher": (
        replace(_CLASSIFIER, name="cls_classifier"),
        replace(_CLASSIFIER, name="distillation_classifier"),
    ),
    "Model": (_POOLER,),
}
_PROJECTION = Output(name="visual_projection", outputs="projection_dim", bias=False)
CLIP_VISION: Outputs = {
    "Model": (),
    "VisionModelWithProjection": (_PROJECTION,),
    "ForImageClassification": (replace(_CLASSIFIER, tokens="one"),),
}
CLIP_TEXT: Outputs = {
    "Model": (),
    "TextModelWithProjection": (replace(_PROJECTION, name="text_projection"),),
}
SIGLIP_VISION: Outputs = {"Model": ()}
SIGLIP_TEXT: Outputs = {
    "Model": (Output(name="text_head", outputs="projection_size", bias=True),),
}
DINO: Outputs = {
    "Model": (),
    "ForImageClassification": (replace(_CLASSIFIER, joined=2),),
}
