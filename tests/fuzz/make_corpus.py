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


def make_gguf_tokenizer(name, model, pre, tokens, types):
    """A header with a vocabulary and no tensors."""
    writer = gguf.GGUFWriter(CORPUS / "gguf_tokenizer" / name, "llama")
    writer.add_tokenizer_model(model)
    if pre:
        writer.add_tokenizer_pre(pre)
        writer.add_token_merges(["a b", "\u0120 ab"])
    writer.add_token_list(tokens)
    writer.add_token_scores([-float(i) for i in range(len(tokens))])
    writer.add_token_types(types)
    writer.add_bos_token_id(0)
    writer.add_eos_token_id(1)
    writer.add_add_bos_token(True)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.close()


def field(number, payload):
    """One of a protocol buffer message: bytes, a short number or a float."""
    if isinstance(payload, bytes):
        return bytes([number << 3 | 2, len(payload)]) + payload
    if isinstance(payload, float):
        return bytes([number << 3 | 5]) + struct.pack("<f", payload)
    tag = number << 3
    head = [tag] if tag < 128 else [tag & 127 | 128, tag >> 7]
    return bytes([*head, payload])


def make_sentencepiece():
    pieces = [("<unk>", 2), ("<s>", 3), ("</s>", 3), ("<0xC3>", 6),
              ("<0xBC>", 6), ("\u2581", 1), ("a", 1), ("b", 1),
              ("\u2581a", 1), ("ab", 1), ("word", 4)]
    message = b"".join(
        field(1, field(1, text.encode()) + field(2, -float(i)) + field(3, kind))
        for i, (text, kind) in enumerate(pieces))
    message += field(2, field(3, 2) + field(35, 1))
    message += field(3, field(1, b"identity") + field(3, 1) + field(4, 0))
    (CORPUS / "sentencepiece" / "bpe").write_bytes(message)


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
    make_gguf_tokenizer(
        "gpt2", "gpt2", "smollm",
        ["<|x|>", "</s>", "a", "b", "\u0120", "ab", "\u0120ab", "word"],
        [3, 3, 1, 1, 1, 1, 1, 4])
    make_gguf_tokenizer(
        "llama", "llama", None,
        ["<s>", "</s>", "<unk>", "<0xC3>", "<0xBC>", "\u2581", "a", "\u2581a"],
        [3, 3, 2, 6, 6, 1, 1, 1])
    make_sentencepiece()
