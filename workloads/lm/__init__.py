"""Language models that really run: weights and tokenizers from files, a forward pass in torch.

Only decoders of the Llama kind: rotary positions, RMS norms, gated MLP (Llama, Mistral, Qwen2,
Qwen3). Torch, tokenizers and gguf are imported where they are used.
"""

from .checkpoint import Checkpoint, checkpoint_names, find_checkpoint

__all__ = ["Checkpoint", "checkpoint_names", "find_checkpoint"]
