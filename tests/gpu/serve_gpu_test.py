#!/usr/bin/env python3
"""`caravan serve --device cuda` on one real GPU, against the CPU engine, and killed.

usage: serve_gpu_test.py CARAVAN
"""

import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "system"))

import faults  # noqa: E402
from caravan_process import run_tests  # noqa: E402
from serve_cuda_test import (check_layouts, check_mixed,  # noqa: E402
                             serve)


def one_gpu_gives_the_cpus_tokens(binary, folder):
    check_layouts(binary, folder, [(1, 1)])


def a_gpu_beside_a_cpu_gives_the_cpus_tokens(binary, folder):
    check_mixed(binary, folder, [(1, "cuda,cpu"), (1, "cpu,cuda")])


def survives_faults(binary, folder):
    with serve(binary, folder, "--device", "cuda") as caravan:
        caravan.wait_ready()
        faults.kill_engine(caravan, rank=0)
        faults.stop_engine(caravan, rank=0)
        caravan.stop()


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    sys.exit(run_tests(
        [one_gpu_gives_the_cpus_tokens,
         a_gpu_beside_a_cpu_gives_the_cpus_tokens, survives_faults],
        os.path.abspath(sys.argv[1])))
