#!/usr/bin/env python3
"""Layers of Llama 2's true shapes on a GPU, against Hugging Face transformers on the same GPU.

Makes a random model of each shape with few layers (saved as bfloat16, computed in float32), lets transformers say its
logits and greedy tokens, and holds `golden_gpu` to them as the tests hold it to the small models.

usage: true_shape_golden.py GOLDEN_GPU [SHAPE...]     SHAPE: 7b, 13b, 70b (all if none is named), or tiny
"""

import pathlib
import subprocess
import sys
import tempfile

import torch
from transformers import LlamaConfig, LlamaForCausalLM

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "goldens"))

import make_model_goldens as goldens  # noqa: E402

SHAPES = {
    "7b": dict(hidden_size=4096, intermediate_size=11008, num_attention_heads=32, num_key_value_heads=32),
    "13b": dict(hidden_size=5120, intermediate_size=13824, num_attention_heads=40, num_key_value_heads=40),
    "70b": dict(hidden_size=8192, intermediate_size=28672, num_attention_heads=64, num_key_value_heads=8),
    # Tries this script where there is no GPU.
    "tiny": dict(hidden_size=128, intermediate_size=224, num_attention_heads=16, num_key_value_heads=2),
}


def sure_tokens(margins):
    """How many of the greedy tokens come before the first that rounding could change."""
    return next((i for i, margin in enumerate(margins) if margin < goldens.MIN_MARGIN), len(margins))


def make(folder, shape):
    device = "cuda" if torch.cuda.is_available() else "cpu"
    for seed in range(20):
        torch.manual_seed(seed)
        config = LlamaConfig(**shape, num_hidden_layers=2, vocab_size=32000, rms_norm_eps=1e-5,
                             max_position_embeddings=4096, initializer_range=0.02, tie_word_embeddings=False)
        with torch.device(device):
            model = LlamaForCausalLM(config)
        model.to(torch.bfloat16).save_pretrained(folder)
        del model
        model = LlamaForCausalLM.from_pretrained(folder, dtype=torch.float32).to(device)
        prompt = [1] + torch.randint(3, config.vocab_size, (goldens.NUM_PROMPT - 1,)).tolist()
        rows, tokens, margins = goldens.run(model, prompt, token_by_token=False)
        sure = sure_tokens(margins)
        if sure >= goldens.NUM_LOGIT_ROWS:
            goldens.write(folder, prompt, rows, tokens[:sure], margins[:sure])
            print(f"seed {seed}: {sure} greedy tokens, least margin {min(margins[:sure]):.4f}", flush=True)
            return
    sys.exit("no seed gives tokens that are sure enough")


def main():
    if len(sys.argv) < 2 or not set(sys.argv[2:]) <= set(SHAPES):
        sys.exit(__doc__)
    failed = []
    for name in sys.argv[2:] or ["7b", "13b", "70b"]:
        with tempfile.TemporaryDirectory() as folder:
            print(f"{name}: {SHAPES[name]}", flush=True)
            make(pathlib.Path(folder), SHAPES[name])
            if subprocess.run([sys.argv[1], folder]).returncode != 0:
                failed.append(name)
    sys.exit(f"failed: {', '.join(failed)}" if failed else 0)


if __name__ == "__main__":
    main()
