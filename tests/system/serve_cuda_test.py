#!/usr/bin/env python3
"""`caravan serve --device cuda` with engines on the emulated GPU: answers, faults.

usage: serve_cuda_test.py CARAVAN CUDA_ENGINE
"""

import os
import re
import sys
import threading

import faults
from caravan_process import Caravan, check, run_tests, tiny_model

PROMPTS = [[1], [5, 6, 7], list(range(3, 60))]
TOKENS = 12
# Between a GPU's arithmetic and the CPU's.
TOLERANCE = 1e-3
# So that nothing else differs.
AS_THE_CPU = ["--kv-cache-dtype", "float32"]
# And between float32 and what is rounded: activations that are sent in bfloat16
# and, on GPUs, keys and values.
ROUNDED = 0.1


def serve(binary, folder, *more):
    return Caravan(binary, [
        tiny_model(folder), "--load-format", "dummy", "--seed", "11",
        "--dtype", "float32", "--skip-tokenizer-init", "--port", "0",
        "--max-num-seqs", "16", "--cpu-threads", "1",
        "--kv-cache-memory", "64MiB", "--deterministic", *more])


def token_ids(caravan, prompt, **more):
    code, body = caravan.post("/v1/completions", {
        "model": caravan.model(), "prompt": prompt, "max_tokens": TOKENS,
        "ignore_eos": True, "return_token_ids": True, **more})
    check(code == 200, f"completion answered {code}: {body}")
    return body["choices"][0]["token_ids"]


def answer(caravan, prompt):
    """Ids, their log-probabilities and by how much each was the likeliest."""
    code, body = caravan.post("/v1/completions", {
        "model": caravan.model(), "prompt": prompt, "temperature": 0,
        "max_tokens": TOKENS, "ignore_eos": True, "return_token_ids": True,
        "logprobs": 2})
    check(code == 200, f"completion answered {code}: {body}")
    choice = body["choices"][0]
    leads = []
    for top in choice["logprobs"]["top_logprobs"]:
        best, second = sorted(top.values(), reverse=True)[:2]
        leads.append(best - second)
    return choice["token_ids"], choice["logprobs"]["token_logprobs"], leads


def check_close(got, wanted, what, tolerance=TOLERANCE):
    """The same tokens with about the same logits, up to the first tie."""
    for i, (token, logprob, lead) in enumerate(zip(*wanted)):
        if lead < tolerance:
            return
        check(got[0][i] == token and abs(got[1][i] - logprob) < tolerance,
              f"{what}: token {i} is {got[0][i]} ({got[1][i]}), "
              f"on the CPU {token} ({logprob})")


def every_layout_gives_the_cpus_tokens(binary, folder):
    check_layouts(binary, folder, [(1, 1), (1, 2), (2, 1), (2, 2), (3, 1)])


def check_layouts(binary, folder, layouts):
    with serve(binary, folder) as caravan:
        caravan.wait_ready()
        wanted = [answer(caravan, prompt) for prompt in PROMPTS]
        caravan.stop()
    seen = {}
    for tp, pp in layouts:
        with serve(binary, folder, "--device", "cuda", *AS_THE_CPU,
                   "-tp", str(tp), "-pp", str(pp)) as caravan:
            caravan.wait_ready()
            alone = [answer(caravan, prompt) for prompt in PROMPTS]
            for got, reference in zip(alone, wanted):
                check_close(got, reference, f"tp {tp} pp {pp}")
            check(together(caravan) == alone,
                  f"tp {tp} pp {pp}: other bits beside other requests")
            caravan.stop()
        check(seen.setdefault(tp, alone) == alone,
              f"tp {tp}: other bits with pp {pp}")


def activations_in_bfloat16_are_rounded_and_no_more(binary, folder):
    with serve(binary, folder) as caravan:
        caravan.wait_ready()
        wanted = [answer(caravan, prompt) for prompt in PROMPTS]
        caravan.stop()
    on_gpus = None
    for devices, pp in [("cuda", 1), ("cuda", 2), ("cuda,cpu", 2)]:
        with serve(binary, folder, "--device", devices, "-tp", "2",
                   "-pp", str(pp),
                   "--activation-dtype", "bfloat16") as caravan:
            caravan.wait_ready()
            alone = [answer(caravan, prompt) for prompt in PROMPTS]
            for got, reference in zip(alone, wanted):
                check_close(got, reference, f"pp {pp} on {devices}", ROUNDED)
            check(alone != wanted, "nothing was rounded")
            check(together(caravan) == alone,
                  f"pp {pp} on {devices}: other bits beside other requests")
            caravan.stop()
        if devices == "cuda":
            on_gpus = on_gpus or alone
            check(on_gpus == alone, f"other bits with pp {pp}")


def decode_steps_are_replayed_as_graphs(binary, folder):
    """By every rank, unless it is told not to, with the same bits."""
    seen = []
    for more in ([], ["--enforce-eager"]):
        with serve(binary, folder, "--device", "cuda", "-tp", "2", "-pp", "2",
                   "--verbose", *more) as caravan:
            caravan.wait_ready()
            seen.append([answer(caravan, prompt) for prompt in PROMPTS])
            caravan.stop()
            said = caravan.output.all_lines()
        replaying = {
            match.group(1) for line in said
            if (match := re.search(r"engine r\d+ e\d+ rank (\d+)\].*replays "
                                   r"decode steps as CUDA graphs", line))}
        wanted = set() if more else {"0", "1", "2", "3"}
        check(replaying == wanted, f"{more}: ranks {replaying} replay")
    check(seen[0] == seen[1], f"other bits with graphs: {seen}")


def gpus_begin_steps_while_one_runs(binary, folder):
    """Those of the last stage, where they choose the tokens themselves; with
    log-probabilities the hosts do."""
    for tp, pp in [(1, 1), (2, 1), (2, 2)]:
        check_ahead(binary, folder, tp, pp)


def check_ahead(binary, folder, tp, pp):
    with serve(binary, folder, "--device", "cuda", "--verbose",
               "-tp", str(tp), "-pp", str(pp)) as caravan:
        caravan.wait_ready()
        for more in ({"temperature": 0}, {"temperature": 0.9, "seed": 5}):
            by_host = [token_ids(caravan, prompt, logprobs=1, **more)
                       for prompt in PROMPTS]
            by_gpu = [token_ids(caravan, prompt, **more) for prompt in PROMPTS]
            check(by_gpu == by_host, f"{more}: {by_gpu}, not {by_host}")
            check(side_by_side(lambda prompt: token_ids(caravan, prompt, **more))
                  == by_host, f"{more}: other tokens beside other requests")
        caravan.stop()
        said = caravan.output.all_lines()
    # Told at the first one: what is said at the end may come too late.
    ahead = {
        int(match.group(1)) for line in said
        if (match := re.search(r"engine r\d+ e\d+ rank (\d+)\].*begins steps "
                               r"while one runs", line))}
    wanted = set(range(tp * (pp - 1), tp * pp))
    check(ahead == wanted, f"tp {tp} pp {pp}: ranks {ahead} begin steps ahead")


def a_pipeline_of_gpus_and_cpus_gives_the_cpus_tokens(binary, folder):
    check_mixed(binary, folder, [
        (1, "cuda,cpu"), (1, "cpu,cuda"), (2, "cuda,cpu"),
        (1, "cuda,cuda,cpu"), (1, "cpu,cuda,cpu")])


def check_mixed(binary, folder, layouts):
    with serve(binary, folder) as caravan:
        caravan.wait_ready()
        wanted = [answer(caravan, prompt) for prompt in PROMPTS]
        caravan.stop()
    for tp, devices in layouts:
        with serve(binary, folder, "--device", devices, *AS_THE_CPU,
                   "-tp", str(tp), "-pp", str(devices.count(",") + 1)) as caravan:
            caravan.wait_ready()
            got = [answer(caravan, prompt) for prompt in PROMPTS]
            for one, reference in zip(got, wanted):
                check_close(one, reference, f"tp {tp} on {devices}")
            check(together(caravan) == got,
                  f"tp {tp} on {devices}: other bits beside other requests")
            caravan.stop()


def a_mixed_pipeline_survives_faults(binary, folder):
    with serve(binary, folder, "--device", "cuda,cpu", "-pp", "2") as caravan:
        caravan.wait_ready()
        faults.kill_engine(caravan, rank=0)
        faults.kill_engine(caravan, rank=1)
        faults.stop_engine(caravan, rank=1)
        caravan.stop()


def the_real_model_in_four_bits_goes_on_as_on_the_cpu(binary, folder):
    """Eight tokens of prompts that it is sure about: 8-bit activations carry a
    rounding of one device far, so that closer calls may fall otherwise. Four
    rows a step: tensor cores, from five on, are slow to emulate."""
    model = os.environ.get("CARAVAN_TEST_GGUF")
    if not model:
        print("  skipped: CARAVAN_TEST_GGUF names no model")
        return
    prompts = ["The capital of France is", "1, 2, 3, 4, 5, 6, 7,"]
    got = {}
    for device in ("cpu", "cuda"):
        with Caravan(binary, [
                model, "--device", device, "--quantization", "auto", *AS_THE_CPU,
                "--max-model-len", "64", "--max-num-batched-tokens", "4",
                "--stall-timeout", "120",  # an emulated GPU is slow
                "--port", "0"]) as caravan:
            caravan.patience = 600  # with a sanitizer slower still
            caravan.wait_ready()
            got[device] = [caravan.complete(prompt, 8) for prompt in prompts]
            caravan.stop()
    check(got["cuda"] == got["cpu"], f"tokens: {got}")


def together(caravan):
    return side_by_side(lambda prompt: answer(caravan, prompt))


def side_by_side(complete):
    """What `complete` gives for each prompt, all at once."""
    got = [None] * len(PROMPTS)

    def run(index):
        got[index] = complete(PROMPTS[index])

    threads = [threading.Thread(target=run, args=(i,))
               for i in range(len(PROMPTS))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return got


def survives_faults(binary, folder):
    with serve(binary, folder, "--device", "cuda",
               "-tp", "2", "-pp", "2") as caravan:
        caravan.wait_ready()
        before = caravan.complete(PROMPTS[1], TOKENS)
        faults.kill_engine(caravan, rank=2)
        faults.stop_engine(caravan, rank=1)
        faults.kill_agent(caravan)
        faults.kill_twice(caravan, rank=3)
        check(caravan.complete(PROMPTS[1], TOKENS) == before,
              "other tokens after the faults")
        caravan.stop()


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    os.environ["CARAVAN_CUDA_ENGINE"] = os.path.abspath(sys.argv[2])
    sys.exit(run_tests(
        [every_layout_gives_the_cpus_tokens,
         activations_in_bfloat16_are_rounded_and_no_more,
         decode_steps_are_replayed_as_graphs,
         gpus_begin_steps_while_one_runs, survives_faults,
         a_pipeline_of_gpus_and_cpus_gives_the_cpus_tokens,
         a_mixed_pipeline_survives_faults,
         the_real_model_in_four_bits_goes_on_as_on_the_cpu],
        os.path.abspath(sys.argv[1])))
