#!/usr/bin/env python3
"""`caravan serve` with simulated engines: life, faults, two servers at once.

usage: serve_simulated_test.py CARAVAN
"""

import os
import signal
import subprocess
import sys
import time

import faults
from caravan_process import (Caravan, Streams, check, cpu_seconds, run_tests,
                             tiny_model, wait_until)


def simulated(folder, *more):
    return [tiny_model(folder), "--load-format", "dummy", "--device",
            "simulated", "--skip-tokenizer-init", "--port", "0", *more]


def serves_and_stops(binary, folder):
    with Caravan(binary, simulated(folder, "-tp", "2", "-pp", "2")) as caravan:
        caravan.wait_ready()
        check(caravan.get("/health")[0] == 200, "not healthy")
        first = caravan.complete([1, 2, 3], 20)
        check(len(first) == 20, f"20 tokens asked for, {first} came")
        check(caravan.complete([1, 2, 3], 20) == first, "another answer")
        status = caravan.status()
        ranks = status["replicas"][0]["ranks"]
        check(len(ranks) == 4 and all(rank["ready"] for rank in ranks),
              f"ranks: {ranks}")
        check(status["nodes"][0]["devices"], f"nodes: {status['nodes']}")
        shown = subprocess.run(
            [binary, "status", "--url", caravan.url], text=True,
            capture_output=True, timeout=30, check=True).stdout
        check("Replica 0: running, epoch 1, tp 2 x pp 2" in shown, shown)
        took = caravan.stop()
        print(f"  stopped in {took:.2f} s")


def failed_answers_are_failures_of_scripts(binary, folder):
    with Caravan(binary, simulated(folder)) as caravan:
        caravan.wait_ready()
        # Without a tokenizer the server refuses text.
        for arguments, typed in (["run", "Hello"], ""), (["chat"], "Hello\n"):
            result = subprocess.run(
                [binary, *arguments, "--url", caravan.url], input=typed,
                text=True, capture_output=True, timeout=30)
            check(result.returncode == 1 and "tokenizer" in result.stderr,
                  f"{arguments}: {result}")


def tells_of_agents_and_engines_when_asked(binary, folder):
    for flags in [], ["--verbose"]:
        with Caravan(binary, simulated(folder, "-tp", "2", *flags)) as caravan:
            caravan.wait_ready()
            caravan.complete([1], 4)
            caravan.stop()
            said = caravan.output.all_lines()
        told = [line for line in said if "agent " in line or "engine " in line]
        check(bool(told) == bool(flags), f"with {flags}: {said}")
        started = "[agent localhost] started engine r0 e1 rank 1"
        check(any(started in line for line in told) == bool(flags), told)


def stops_while_streams_run(binary, folder):
    with Caravan(binary, simulated(folder)) as caravan:
        caravan.wait_ready()
        streams = Streams(caravan, count=8, max_tokens=2000)
        streams.wait_flowing()
        caravan.stop()
        streams.join(5)


def stops_while_it_starts(binary, folder):
    with Caravan(binary, simulated(folder)) as caravan:
        caravan.output.wait_for("node localhost joined", 30)
        caravan.stop()


def ends_with_its_coordinator(binary, folder):
    with Caravan(binary, simulated(folder, "-tp", "2")) as caravan:
        caravan.wait_ready()
        check(len(caravan.engines()) == 2, f"engines: {caravan.engines()}")
        caravan.process.send_signal(signal.SIGKILL)
        caravan.process.wait()
        wait_until(lambda: not caravan.descendants(), 10,
                   "agent and engines gone after the coordinator")


def a_second_start_beside_and_after(binary, folder):
    with Caravan(binary, simulated(folder)) as first:
        first.wait_ready()
        with Caravan(binary, simulated(folder)) as second:
            second.wait_ready()
            check(first.url != second.url, "one address for two servers")
            check(first.complete([4], 3) == second.complete([4], 3), "differ")
            second.stop()
        first.complete([4], 3)
        port = first.url.rsplit(":", 1)[1]
        taken = simulated(folder)
        taken[taken.index("--port") + 1] = port
        with Caravan(binary, taken) as third:
            code = third.process.wait(timeout=30)
            check(code == 1, f"exit code {code} on a port that is taken")
            third.output.wait_for(port, 1)
            check(not third.descendants(), "left something running")
        first.stop()
        with Caravan(binary, taken) as fourth:
            fourth.wait_ready()
            fourth.stop()


def survives_faults(binary, folder):
    with Caravan(binary, simulated(folder, "-tp", "2", "-pp", "2")) as caravan:
        caravan.wait_ready()
        faults.kill_engine(caravan, rank=2)
        faults.stop_engine(caravan, rank=2)
        faults.kill_agent(caravan)
        faults.kill_engine(caravan, rank=0)
        faults.kill_twice(caravan, rank=3)
        caravan.stop()


def refuses_what_cannot_work(binary, folder):
    cases = [
        (simulated(folder)[1:], "model is required"),
        (["/no/such/model", "--skip-tokenizer-init"], "/no/such/model"),
        (simulated(folder, "--host", "0.0.0.0"), "api-key"),
        (simulated(folder, "--nodes", "2"), "--listen"),
        (simulated(folder, "--nodes", "2", "--listen", "0.0.0.0:0"),
         "--insecure"),
        (simulated(folder, "--listen", "127.0.0.1:0"), "--nodes"),
        (simulated(folder, "-tp", "64"), "64"),
        (simulated(folder, "--max-model-len", "-1"), "--max-model-len"),
        (simulated(folder, "--kv-cache-memory", "4G"), "--kv-cache-memory"),
    ]
    for arguments, wanted in cases:
        result = subprocess.run(
            [binary, "serve", *arguments], text=True, capture_output=True,
            timeout=60)
        said = result.stderr + result.stdout
        check(result.returncode != 0, f"{arguments} was accepted")
        check(wanted in said, f"{arguments}: {wanted!r} not in {said!r}")


def idles_without_work(binary, folder):
    with Caravan(binary, simulated(folder, "-tp", "2", "-pp", "2")) as caravan:
        caravan.wait_ready()
        caravan.complete([1], 4)
        pids = [caravan.process.pid] + [pid for pid, _ in caravan.descendants()]
        began, used = time.monotonic(), cpu_seconds(pids)
        time.sleep(10)  # what is measured is the passing of time
        share = (cpu_seconds(pids) - used) / (time.monotonic() - began)
        print(f"  idle: {100 * share:.2f} % of a core")
        check(share < 0.02, f"idle processes use {100 * share:.1f} % of a core")


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    sys.exit(run_tests(
        [serves_and_stops, failed_answers_are_failures_of_scripts,
         tells_of_agents_and_engines_when_asked, stops_while_streams_run,
         stops_while_it_starts, ends_with_its_coordinator,
         a_second_start_beside_and_after,
         survives_faults, refuses_what_cannot_work, idles_without_work],
        os.path.abspath(sys.argv[1])))
