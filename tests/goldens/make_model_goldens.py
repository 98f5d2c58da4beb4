#!/usr/bin/env python3
"""Makes the numeric references of tests/goldens/models with Hugging Face transformers.

Small random Llama models (saved as bfloat16, computed in float32) and, with --real, the reference of
SmolLM2-135M-Instruct (its weights stay out of the repository). For each: a prompt, the float32 logits at some
positions, and 64 greedily chosen tokens. Seeds are searched until no choice is a near tie, so that equality of
tokens is a fair demand.

    pip install torch transformers safetensors gguf accelerate
    python3 tests/goldens/make_model_goldens.py [--real SmolLM2-135M-Instruct.Q4_1.gguf]
"""

import argparse
import json
import pathlib
import shutil

import torch
from transformers import AutoModelForCausalLM, LlamaConfig, LlamaForCausalLM

HERE = pathlib.Path(__file__).resolve().parent / "models"
NUM_PROMPT = 21
NUM_GREEDY = 64
NUM_LOGIT_ROWS = 4  # the last prompt position and the decode positions after it
MIN_MARGIN = 2e-3  # of the largest logit, between the two likeliest tokens

BASE = dict(num_hidden_layers=3, rms_norm_eps=1e-5, max_position_embeddings=256, vocab_size=320,
            bos_token_id=1, eos_token_id=2, initializer_range=0.15, tie_word_embeddings=False)
CONFIGS = {
    # Multi-head attention like Llama 2 7B.
    "multi_head": dict(hidden_size=64, num_attention_heads=4, num_key_value_heads=4, intermediate_size=176),
    # Eight query heads per KV head like Llama 2 70B.
    "grouped_8_to_1": dict(hidden_size=128, num_attention_heads=16, num_key_value_heads=2, intermediate_size=224),
    "heads_6_kv_3": dict(hidden_size=96, num_attention_heads=6, num_key_value_heads=3, intermediate_size=200,
                         rms_norm_eps=1e-6),
    "heads_9_kv_3_linear": dict(hidden_size=72, num_attention_heads=9, num_key_value_heads=3, head_dim=16,
                                intermediate_size=168,
                                rope_parameters=dict(rope_type="linear", factor=2.5, rope_theta=10000.0)),
    # One token added to Llama's 32000, as Alpaca does; tied embeddings.
    "vocabulary_32001_tied": dict(hidden_size=32, num_attention_heads=4, num_key_value_heads=2,
                                  intermediate_size=96, vocab_size=32001, tie_word_embeddings=True),
    "llama3_scaling": dict(hidden_size=64, num_attention_heads=4, num_key_value_heads=2, head_dim=32,
                           intermediate_size=160,
                           rope_parameters=dict(rope_type="llama3", factor=8.0, low_freq_factor=1.0,
                                                high_freq_factor=4.0, original_max_position_embeddings=64,
                                                rope_theta=500000.0)),
    # 21 + 64 positions pass the trained 48: the base grows on the way.
    "dynamic_scaling": dict(hidden_size=64, num_attention_heads=4, num_key_value_heads=4, intermediate_size=160,
                            max_position_embeddings=48,
                            rope_parameters=dict(rope_type="dynamic", factor=4.0, rope_theta=10000.0)),
}
# As transformers before version 5 spelled it.
OLD_SPELLING = {"multi_head", "heads_9_kv_3_linear", "dynamic_scaling"}
SHARDED = {"grouped_8_to_1"}


def respell(path, name):
    config = json.loads(path.read_text())
    config.pop("transformers_version", None)
    if name in OLD_SPELLING:
        rope = config.pop("rope_parameters")
        config["rope_theta"] = rope.pop("rope_theta")
        config["torch_dtype"] = config.pop("dtype", "bfloat16")
        config["rope_scaling"] = None
        if rope.get("rope_type", "default") != "default":
            rope["type"] = rope.pop("rope_type")
            config["rope_scaling"] = rope
    if name == "multi_head":
        del config["num_key_value_heads"]  # Llama 1 and early Llama 2 files lack it
        config["eos_token_id"] = [2, 5]
    path.write_text(json.dumps(config, indent=1, sort_keys=True) + "\n")


def run(model, prompt, token_by_token):
    """Logits at the last prompt position and after each greedy token; the tokens; the margin of each."""
    cache, rows, tokens, margins = None, [], [], []
    pieces = [[t] for t in prompt] if token_by_token else [prompt]
    with torch.no_grad():
        for piece in pieces:
            out = model(torch.tensor([piece], device=model.device), past_key_values=cache, use_cache=True)
            cache = out.past_key_values
        for _ in range(NUM_GREEDY):
            logits = out.logits[0, -1].float().cpu()
            top = torch.topk(logits, 2)
            margins.append(((top.values[0] - top.values[1]) / logits.abs().max()).item())
            rows.append(logits)
            tokens.append(int(top.indices[0]))
            out = model(torch.tensor([[tokens[-1]]], device=model.device), past_key_values=cache, use_cache=True)
            cache = out.past_key_values
    return torch.stack(rows), tokens, margins


def write(folder, prompt, rows, tokens, margins):
    golden = dict(prompt=prompt, greedy=tokens, num_logit_rows=NUM_LOGIT_ROWS, least_margin=round(min(margins), 6))
    (folder / "golden.json").write_text(json.dumps(golden) + "\n")
    (folder / "logits.f32").write_bytes(rows[:NUM_LOGIT_ROWS].numpy().astype("<f4").tobytes())


def make_random(name, changes):
    folder = HERE / name
    for seed in range(1000):
        torch.manual_seed(seed)
        config = LlamaConfig(**{**BASE, **changes})
        model = LlamaForCausalLM(config)
        with torch.no_grad():
            for parameter_name, parameter in model.named_parameters():
                if "norm" in parameter_name:
                    parameter.uniform_(0.5, 1.5)
        shutil.rmtree(folder, ignore_errors=True)
        options = dict(max_shard_size="400KB") if name in SHARDED else {}
        model.to(torch.bfloat16).save_pretrained(folder, **options)
        # Reloaded, not converted back: .to(bfloat16) rounds the RoPE buffer too.
        model = LlamaForCausalLM.from_pretrained(folder, dtype=torch.float32)
        prompt = [1] + torch.randint(3, config.vocab_size, (NUM_PROMPT - 1,)).tolist()
        rows, tokens, margins = run(model, prompt, token_by_token=name == "dynamic_scaling")
        if min(margins) > MIN_MARGIN and len(set(tokens)) > 12:
            break
    (folder / "generation_config.json").unlink(missing_ok=True)
    respell(folder / "config.json", name)
    write(folder, prompt, rows, tokens, margins)
    print(f"{name}: seed {seed}, least margin {min(margins):.4f}, {len(set(tokens))} different tokens")


def make_real(path):
    path = pathlib.Path(path)
    model = AutoModelForCausalLM.from_pretrained(path.parent, gguf_file=path.name, dtype=torch.float32)
    from transformers import AutoTokenizer
    tokenizer = AutoTokenizer.from_pretrained(path.parent, gguf_file=path.name)
    text = ("<|im_start|>system\nYou are a helpful AI assistant named SmolLM, trained by Hugging Face<|im_end|>\n"
            "<|im_start|>user\nWhat is the capital of France?<|im_end|>\n<|im_start|>assistant\n")
    prompt = tokenizer(text)["input_ids"]
    rows, tokens, margins = run(model, prompt, token_by_token=False)
    folder = HERE / "smollm2_135m"
    folder.mkdir(parents=True, exist_ok=True)
    write(folder, prompt, rows, tokens, margins)
    print(f"smollm2: least margin {min(margins):.5f}: {tokenizer.decode(tokens)!r}")


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--real", help="path of SmolLM2-135M-Instruct.Q4_1.gguf")
    parser.add_argument("--only", help="one configuration")
    arguments = parser.parse_args()
    for name, changes in CONFIGS.items():
        if arguments.only in (None, name):
            make_random(name, changes)
    if arguments.real:
        make_real(arguments.real)


if __name__ == "__main__":
    main()
