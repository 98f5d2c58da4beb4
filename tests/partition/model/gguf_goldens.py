"""Prints the golden values of gguf_source_test.cc.

Usage: gguf_goldens.py SmolLM2-135M-Instruct.Q4_1.gguf
Needs the packages gguf and transformers (5.x): dequantization is the former's,
the order of query and key rows the latter's.
"""

import sys

import gguf
from gguf.quants import dequantize
from transformers.modeling_gguf_pytorch_utils import LlamaTensorProcessor

# (Hugging Face's name, GGUF's name, row, column)
PLACES = [
    ("model.embed_tokens", "token_embd", 49151, 573),
    ("model.layers.0.self_attn.q_proj", "blk.0.attn_q", 33, 30),
    ("model.layers.0.self_attn.q_proj", "blk.0.attn_q", 95, 0),
    ("model.layers.7.self_attn.k_proj", "blk.7.attn_k", 130, 100),
    ("model.layers.7.self_attn.v_proj", "blk.7.attn_v", 130, 100),
    ("model.layers.29.self_attn.o_proj", "blk.29.attn_output", 1, 62),
    ("model.layers.29.mlp.down_proj", "blk.29.ffn_down", 575, 1533),
    ("model.layers.3.input_layernorm", "blk.3.attn_norm", 0, 10),
    ("model.norm", "output_norm", 0, 573),
]


def main():
    reader = gguf.GGUFReader(sys.argv[1])
    tensors = {t.name: t for t in reader.tensors}
    heads = {
        "attn_q": reader.fields["llama.attention.head_count"].contents(),
        "attn_k": reader.fields["llama.attention.head_count_kv"].contents(),
    }
    processor = LlamaTensorProcessor()
    for name, stored, row, col in PLACES:
        tensor = tensors[stored + ".weight"]
        values = dequantize(tensor.data, tensor.tensor_type)
        kind = stored.split(".")[-1]
        if kind in heads:
            values = processor._reverse_permute_weights(
                values, heads[kind], heads[kind])
        values = values.reshape(-1, values.shape[-1])[row, col:col + 3]
        text = ", ".join(f"{float(v)!r}f" for v in values)
        print(f'{{"{name}.weight", {row}, {col}, {{{text}}}}},')


if __name__ == "__main__":
    main()
