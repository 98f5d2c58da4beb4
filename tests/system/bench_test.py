#!/usr/bin/env python3
"""`caravan bench model`: on engines of its own, simulated ones, a running server.

What it measures is not looked at, only that it is there.

    bench_test.py PATH_OF_CARAVAN
"""

import json
import os
import subprocess
import sys

from caravan_process import Caravan, check, run_tests, tiny_model

# Long enough that several streams meet, however late one of them begins.
SHORT = ["--input-len", "24", "--output-len", "200", "--repetitions", "2"]
TESTS = ["pp24", "tg200", "tg200 x3"]


def bench(binary, *arguments):
    result = subprocess.run(
        [binary, "bench", "model", *arguments, *SHORT, "--concurrency", "1,3"],
        text=True, capture_output=True, timeout=120)
    check(result.returncode == 0,
          f"exit code {result.returncode}: {result.stderr}")
    return result.stdout


def bench_json(binary, *arguments):
    report = json.loads(bench(binary, *arguments, "--json"))
    check([test["test"] for test in report["tests"]] == TESTS, f"{report}")
    for test in report["tests"]:
        rate = test["tokens_per_second"]
        check(len(rate["repetitions"]) == 2 and rate["mean"] > 0, f"{test}")
        check(test["ttft_ms"]["median"] > 0, f"{test}")
    check("against_one_stream" in report["tests"][2], f"{report}")
    return report


def measures_engines_and_machine(binary, folder):
    model = [tiny_model(folder), "--load-format", "dummy",
             "--hf-overrides", '{"num_hidden_layers": 2}']
    table = bench(binary, *model, "--cpu-threads", "1")
    for wanted in ("tiny, cpu, tp 1 x pp 1, 1 thread each, 2 layers in float32",
                   *(f"| {name} " for name in TESTS), "of read bandwidth",
                   "of float32 FMA peak", "This machine, 1 thread: reads"):
        check(wanted in table, f"{wanted!r} not in:\n{table}")
    table = bench(binary, *model, "--cpu-threads", "1", "-q", "q8")
    check("2 layers in q8" in table, table)
    report = bench_json(binary, *model, "-pp", "2")
    check(report["machine"]["read_bytes_per_second"] > 0, f"{report}")
    check(report["tests"][0]["of_fma_peak"] > 0, f"{report}")
    check(report["tests"][1]["of_read_bandwidth"] > 0, f"{report}")


def leaves_the_machine_out_where_it_is_not_known(binary, folder):
    simulated = [tiny_model(folder), "--load-format", "dummy",
                 "--device", "simulated", "--simulated-step-us", "500"]
    report = bench_json(binary, *simulated, "-tp", "2")
    check(report["machine"] is None, f"{report}")
    serve = [*simulated, "--skip-tokenizer-init", "--port", "0"]
    with Caravan(binary, serve) as caravan:
        caravan.wait_ready()
        table = bench(binary, "--url", caravan.url)
        check("machine is not known" in table, table)
        check(bench_json(binary, "--url", caravan.url)["machine"] is None,
              "a machine that is not known")
        caravan.stop()


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    sys.exit(run_tests([measures_engines_and_machine,
                        leaves_the_machine_out_where_it_is_not_known],
                       os.path.abspath(sys.argv[1])))
