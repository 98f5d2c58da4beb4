#!/usr/bin/env python3
"""`caravan serve` with real engines over MPI on this machine: answers, faults.

usage: serve_cpu_test.py CARAVAN
"""

import os
import sys
import time

import faults
from caravan_process import (Caravan, check, cpu_seconds, run_tests,
                             tiny_model)

PROMPTS = [[1], [5, 6, 7], list(range(3, 90))]


def arguments(folder, *more):
    return [tiny_model(folder), "--load-format", "dummy", "--seed", "11",
            "--dtype", "float32", "--skip-tokenizer-init", "--port", "0",
            "--max-num-seqs", "16", "--cpu-threads", "1",
            "--kv-cache-memory", "256MiB", *more]


def every_layout_gives_the_same_tokens(binary, folder):
    wanted = None
    for layout in [("1", "1"), ("1", "2"), ("2", "1"), ("2", "2")]:
        with Caravan(binary, arguments(
                folder, "-tp", layout[0], "-pp", layout[1])) as caravan:
            caravan.wait_ready()
            got = [caravan.complete(prompt, 24) for prompt in PROMPTS]
            wanted = wanted or got
            check(got == wanted, f"tp {layout[0]} pp {layout[1]}: {got}, "
                                 f"one engine: {wanted}")
            took = caravan.stop()
            print(f"  tp {layout[0]} pp {layout[1]}: stopped in {took:.2f} s")


def activations_in_bfloat16_give_the_same_tokens_in_every_pipeline(
        binary, folder):
    """Under tensor parallelism; without it the boundaries of stages round."""
    wanted = None
    for pp in ("1", "2"):
        with Caravan(binary, arguments(
                folder, "-tp", "2", "-pp", pp,
                "--activation-dtype", "bfloat16")) as caravan:
            caravan.wait_ready()
            dtype = caravan.status()["replicas"][0]["activation_dtype"]
            check(dtype == "bfloat16", f"activations travel in {dtype}")
            got = [caravan.complete(prompt, 24) for prompt in PROMPTS]
            wanted = wanted or got
            check(got == wanted, f"pp {pp}: {got}, one stage: {wanted}")
            caravan.stop()


def survives_faults(binary, folder):
    with Caravan(binary, arguments(folder, "-tp", "2", "-pp", "2")) as caravan:
        caravan.wait_ready()
        before = caravan.complete(PROMPTS[2], 24)
        faults.kill_engine(caravan, rank=2)
        faults.stop_engine(caravan, rank=1)
        faults.kill_agent(caravan)
        faults.stop_engine(caravan, rank=2)
        faults.kill_mpirun(caravan)
        faults.kill_twice(caravan, rank=3)
        check(caravan.complete(PROMPTS[2], 24) == before,
              "other tokens after the faults")
        caravan.stop()


def survives_faults_of_one_engine(binary, folder):
    with Caravan(binary, arguments(folder)) as caravan:
        caravan.wait_ready()
        faults.kill_engine(caravan, rank=0)
        faults.stop_engine(caravan, rank=0)
        caravan.stop()


def idles_without_work(binary, folder):
    with Caravan(binary, arguments(folder, "-tp", "2", "-pp", "2")) as caravan:
        caravan.wait_ready()
        caravan.complete([1], 4)
        pids = [caravan.process.pid] + [pid for pid, _ in caravan.descendants()]
        check(len(pids) >= 7, f"agent, mpirun and engines: {pids}")
        began, used = time.monotonic(), cpu_seconds(pids)
        time.sleep(10)  # what is measured is the passing of time
        share = (cpu_seconds(pids) - used) / (time.monotonic() - began)
        print(f"  idle: {100 * share:.2f} % of a core")
        check(share < 0.02, f"idle processes use {100 * share:.1f} % of a core")


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    sys.exit(run_tests(
        [every_layout_gives_the_same_tokens,
         activations_in_bfloat16_give_the_same_tokens_in_every_pipeline,
         survives_faults,
         survives_faults_of_one_engine, idles_without_work],
        os.path.abspath(sys.argv[1])))
