"""Makes the binary seeds of corpus/. Needs the packages gguf and numpy."""

import json
import pathlib
import struct

import gguf
import numpy as np

CORPUS = pathlib.Path(__file__).parent / "corpus"
TYPES = gguf.GGMLQuantizationType


def make_gguf(name, kind, width):
    """A whole model of one layer, as small as can be."""
    heads, head_dim, mlp, words = 2, 16, width, 3
    writer = gguf.GGUFWriter(CORPUS / "gguf" / name, "llama")
    writer.add_context_length(16)
    writer.add_embedding_length(width)
    writer.add_block_count(1)
    writer.add_feed_forward_length(mlp)
    writer.add_head_count(heads)
    writer.add_head_count_kv(1)
    writer.add_key_length(head_dim)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_rope_freq_base(10000.0)
    writer.add_tokenizer_model("gpt2")
    writer.add_token_list(["a", "b", "c"])
    writer.add_token_scores([0.0, 1.0, 2.0])
    writer.add_eos_token_id(2)

    def add(tensor, *shape):
        to = kind if len(shape) == 2 else TYPES.F32
        data = gguf.quants.quantize(np.zeros(shape, np.float32), to)
        writer.add_tensor(tensor + ".weight", data, raw_dtype=to)

    add("token_embd", words, width)
    add("blk.0.attn_norm", width)
    add("blk.0.attn_q", heads * head_dim, width)
    add("blk.0.attn_k", head_dim, width)
    add("blk.0.attn_v", head_dim, width)
    add("blk.0.attn_output", width, heads * head_dim)
    add("blk.0.ffn_norm", width)
    add("blk.0.ffn_gate", mlp, width)
    add("blk.0.ffn_up", mlp, width)
    add("blk.0.ffn_down", width, mlp)
    add("output_norm", width)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def make_safetensors():
    header = json.dumps({
        "__metadata__": {"format": "pt"},
        "a": {"dtype": "F32", "shape": [2, 1], "data_offsets": [0, 8]},
        "b": {"dtype": "BF16", "shape": [3], "data_offsets": [8, 14]},
    }).encode()
    (CORPUS / "safetensors" / "two_tensors").write_bytes(
        struct.pack("<Q", len(header)) + header + bytes(14))


if __name__ == "__main__":
    make_gguf("q4_0", TYPES.Q4_0, 32)
    make_gguf("bf16", TYPES.BF16, 8)
    make_safetensors()
