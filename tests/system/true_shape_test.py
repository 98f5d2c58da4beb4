#!/usr/bin/env python3
"""Two layers in the true shape of Llama 2 70B, in bfloat16 and quantized, under every kind of plan.

8192 wide, 64 heads, 8 KV heads, 28672 MLP columns; weights are synthetic, so no
checkpoint is needed. The same greedy request over the API: pipeline stages
change no bit of the answer, tensor parallelism changes log-probabilities within
tolerance, and every engine's resident memory is what its plan says.

    true_shape_test.py PATH_OF_CARAVAN
"""

import sys
import tempfile

from caravan_process import Caravan, TestFailure, check, tiny_model

PLANS = {"none": [(1, 1), (1, 2), (2, 1), (4, 1), (2, 2)],
         "q4": [(1, 1), (1, 2), (2, 1)],
         "q8": [(1, 1)]}
# Under tensor parallelism another rounding of an activation is an error of a
# whole step of its 8 bits.
LOGPROB_TOLERANCE = {"none": 2e-3, "q4": 5e-2, "q8": 5e-2}
MEMORY_TOLERANCE = 0.05


def ask(binary, model, quantization, tp, pp):
    """The answer and the state of all ranks under one plan."""
    arguments = [model, "--load-format", "dummy", "--skip-tokenizer-init",
                 "--port", "0", "-tp", str(tp), "-pp", str(pp),
                 "--quantization", quantization,
                 "--max-model-len", "256", "--max-num-seqs", "4",
                 "--max-num-batched-tokens", "64"]
    with Caravan(binary, arguments) as caravan:
        caravan.wait_ready(300)
        code, answer = caravan.post("/v1/completions", {
            "prompt": [1, 306, 4658, 278, 6593, 310, 2834, 338],
            "max_tokens": 6, "temperature": 0, "logprobs": 5,
            "return_token_ids": True, "ignore_eos": True})
        check(code == 200, f"completion answered {code}: {answer}")
        ranks = caravan.status()["replicas"][0]["ranks"]
        caravan.stop()
        return answer["choices"][0], ranks


def check_memory(name, ranks):
    for rank in ranks:
        ratio = rank["resident_bytes"] / rank["planned_bytes"]
        print(f"{name} rank {rank['rank']}: planned "
              f"{rank['planned_bytes'] / 2**20:.0f} MiB, resident {ratio:.3f} of it")
        check(abs(ratio - 1) <= MEMORY_TOLERANCE,
              f"{name} rank {rank['rank']}: resident is {ratio:.3f} of the plan")


def compare(name, tolerance, reference, answer):
    expected = reference["logprobs"]["token_logprobs"]
    got = answer["logprobs"]["token_logprobs"]
    check(len(got) == 6, f"{name}: {len(got)} tokens")
    error = max(abs(a - b) for a, b in zip(expected, got))
    print(f"{name}: tokens {answer['token_ids']}, "
          f"largest log-probability error {error:.2g}")
    check(answer["token_ids"] == reference["token_ids"],
          f"{name}: other tokens than one engine's {reference['token_ids']}")
    check(error <= tolerance,
          f"{name}: log-probabilities differ by {error}")


def main():
    with tempfile.TemporaryDirectory() as folder:
        model = tiny_model(
            folder, hidden_size=8192, intermediate_size=28672,
            num_hidden_layers=2, num_attention_heads=64, num_key_value_heads=8,
            vocab_size=32000, max_position_embeddings=4096,
            torch_dtype="bfloat16")
        for quantization, plans in PLANS.items():
            reference = None
            for tp, pp in plans:
                name = f"quantization {quantization} tp {tp} pp {pp}"
                answer, ranks = ask(sys.argv[1], model, quantization, tp, pp)
                check_memory(name, ranks)
                reference = reference or answer
                tolerance = 0 if tp == 1 else LOGPROB_TOLERANCE[quantization]
                compare(name, tolerance, reference, answer)


if __name__ == "__main__":
    try:
        main()
    except TestFailure as failure:
        sys.exit(f"FAILED: {failure}")
