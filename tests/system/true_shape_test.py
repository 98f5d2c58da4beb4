#!/usr/bin/env python3
"""Two layers in the true shape of Llama 2 70B (8192 wide, 64 heads, 8 KV heads, 28672 MLP columns), bfloat16, at every kind of plan.

Weights are synthetic, so no checkpoint is needed. Served over the real API, with the same greedy request:
pipeline stages change no bit of the answer; tensor parallelism changes log-probabilities only within tolerance;
every engine's resident memory is what its plan says, within five percent.

    true_shape_test.py PATH_OF_CARAVAN
"""

import json
import pathlib
import subprocess
import sys
import tempfile
import time
import urllib.request

CONFIG = dict(architectures=["LlamaForCausalLM"], model_type="llama", hidden_size=8192, intermediate_size=28672,
              num_hidden_layers=2, num_attention_heads=64, num_key_value_heads=8, vocab_size=32000,
              max_position_embeddings=4096, rms_norm_eps=1e-5, rope_theta=10000.0, hidden_act="silu",
              tie_word_embeddings=False, torch_dtype="bfloat16", bos_token_id=1, eos_token_id=2)
PLANS = [(1, 1), (1, 2), (2, 1), (4, 1), (2, 2)]
LOGPROB_TOLERANCE = 2e-3
MEMORY_TOLERANCE = 0.05


def call(url, body=None):
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(url, data, {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=120) as response:
        return json.load(response)


def serve_and_ask(caravan, folder, tp, pp):
    """The answer and the state of all ranks under one plan."""
    log = open(f"{folder}/serve-{tp}-{pp}.log", "w+")
    process = subprocess.Popen(
        [caravan, "serve", folder, "--load-format", "dummy", "--skip-tokenizer-init", "--port", "0", "-tp", str(tp),
         "-pp", str(pp), "--max-model-len", "256", "--max-num-seqs", "4", "--max-num-batched-tokens", "64"],
        stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT)
    try:
        url = wait_for_url(process, log)
        answer = call(url + "/v1/completions",
                      dict(prompt=[1, 306, 4658, 278, 6593, 310, 2834, 338], max_tokens=6, temperature=0, logprobs=5,
                           return_token_ids=True, ignore_eos=True))
        status = call(url + "/status")
        return answer["choices"][0], status["replicas"][0]["ranks"]
    finally:
        process.terminate()
        code = process.wait(timeout=30)
        if code != 0:
            log.seek(0)
            sys.exit(f"tp {tp} pp {pp}: serve ended with code {code}:\n{log.read()}")


def wait_for_url(process, log):
    deadline = time.monotonic() + 300
    while time.monotonic() < deadline and process.poll() is None:
        log.seek(0)
        for line in log.read().splitlines():
            if "Caravan is ready" in line:
                return line.split("ready: ")[1].split("/v1")[0]
        time.sleep(0.2)
    log.seek(0)
    raise RuntimeError("not ready:\n" + log.read())


def check_memory(tp, pp, ranks):
    problems = []
    for rank in ranks:
        ratio = rank["resident_bytes"] / rank["planned_bytes"]
        print(f"tp {tp} pp {pp} rank {rank['rank']}: resident {rank['resident_bytes'] / 2**20:.0f} MiB, "
              f"planned {rank['planned_bytes'] / 2**20:.0f} MiB, ratio {ratio:.3f}")
        if abs(ratio - 1) > MEMORY_TOLERANCE:
            problems.append(f"tp {tp} pp {pp} rank {rank['rank']}: resident memory is {ratio:.3f} of the plan")
    return problems


def main():
    caravan = str(pathlib.Path(sys.argv[1]).resolve())
    problems = []
    with tempfile.TemporaryDirectory() as folder:
        (pathlib.Path(folder) / "config.json").write_text(json.dumps(CONFIG))
        answers = {}
        for tp, pp in PLANS:
            answers[tp, pp], ranks = serve_and_ask(caravan, folder, tp, pp)
            problems += check_memory(tp, pp, ranks)
    reference = answers[1, 1]
    for (tp, pp), answer in answers.items():
        expected, got = reference["logprobs"]["token_logprobs"], answer["logprobs"]["token_logprobs"]
        error = max(abs(a - b) for a, b in zip(expected, got))
        print(f"tp {tp} pp {pp}: tokens {answer['token_ids']}, largest log-probability error {error:.2g}")
        if len(got) != 6 or answer["token_ids"] != reference["token_ids"]:
            problems.append(f"tp {tp} pp {pp}: other tokens than on one engine")
        if error > (0 if tp == 1 else LOGPROB_TOLERANCE):
            problems.append(f"tp {tp} pp {pp}: log-probabilities differ by {error}")
    print("\n".join(problems))
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
