#!/usr/bin/env python3
"""Four emulated hosts serve one model: agents in random order, tokens, wires,
and what happens when a host's agent or cable is lost.

usage: four_hosts_test.py CARAVAN
Needs root (namespaces.sh); exit code 77 where that is not to be had.
"""

import contextlib
import os
import pathlib
import random
import signal
import subprocess
import sys

import faults
from caravan_process import (Caravan, check, run_tests, tiny_model,
                             wait_until)

LAB_SCRIPT = str(pathlib.Path(__file__).resolve().parent / "namespaces.sh")
PROMPTS = [[1], [5, 6, 7], list(range(3, 90))]
NUM_HOSTS = 4


def lab_command(*words):
    return subprocess.run([LAB_SCRIPT, *words], check=True, text=True,
                          capture_output=True, timeout=60).stdout.strip()


class Lab:
    """The hosts, and on each an agent as its system would keep it running."""

    def __init__(self, binary):
        self.name = f"cv{os.getpid() % 1000000}"
        self.binary = binary
        self.address = lab_command("up", self.name, str(NUM_HOSTS))
        self.agents = {}

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for agent in self.agents.values():
            agent.kill()
            agent.wait()
        lab_command("down", self.name)

    def start_agent(self, host, port, token, tag, mount=()):
        # The agent keeps the pid: all that runs it does so by exec. `mount`
        # shows this host alone the first folder in the place of the second.
        show = ["sh", "-c", 'mount --bind "$1" "$2" && shift 2 && exec "$@"',
                "sh", *mount] if mount else []
        self.agents[host] = subprocess.Popen(
            [LAB_SCRIPT, "exec", self.name, str(host), *show, self.binary,
             "agent", "--join", f"{self.address}:{port}", "--token-file",
             token, "--insecure"],
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            env=dict(os.environ, CARAVAN_TEST_TAG=tag))

    def node(self, host):
        return f"{self.name}-{host}"

    def plug(self, host, state):
        lab_command("link", self.name, str(host), state)

    def bytes(self):
        """Received and sent bytes of each host."""
        return [sum(map(int, lab_command("bytes", self.name, str(host))
                        .split())) for host in range(1, NUM_HOSTS + 1)]


def model_arguments(folder):
    return [tiny_model(folder), "--load-format", "dummy", "--seed", "11",
            "--dtype", "float32", "--skip-tokenizer-init", "--port", "0",
            "--max-num-seqs", "16", "--cpu-threads", "1",
            "--kv-cache-memory", "64MiB"]


def one_process_tokens(binary, folder):
    with Caravan(binary, model_arguments(folder)) as caravan:
        caravan.wait_ready()
        tokens = [caravan.complete(prompt, 24) for prompt in PROMPTS]
        caravan.stop()
        return tokens


@contextlib.contextmanager
def cluster(binary, folder, mounts=None):
    """A lab, a server over its four hosts, its port and the token's file.

    With `mounts` (host -> folders, see start_agent) it need not become ready.
    """
    token = os.path.join(folder, "token")
    with os.fdopen(os.open(token, os.O_CREAT | os.O_WRONLY, 0o600), "w") as out:
        out.write("0123456789abcdef0123456789abcdef\n")
    with Lab(binary) as lab:
        arguments = model_arguments(folder) + [
            "-tp", "2", "-pp", "2", "--nodes", str(NUM_HOSTS),
            "--listen", f"{lab.address}:0", "--insecure",
            "--token-file", token]
        with Caravan(binary, arguments) as caravan:
            port = caravan.output.wait_for(
                r"--join \S+:(\d+) ", 30).group(1)
            hosts = list(range(1, NUM_HOSTS + 1))
            random.shuffle(hosts)
            print(f"  agents start in the order {hosts}", flush=True)
            for host in hosts:
                lab.start_agent(host, port, token, caravan.tag,
                                (mounts or {}).get(host, ()))
            if mounts is None:
                caravan.wait_ready(60)
            yield lab, caravan, port, token


def nodes_in_use(caravan):
    return sorted({rank["node"]
                   for rank in caravan.status()["replicas"][0]["ranks"]})


def tokens_cross_the_wires(binary, folder):
    wanted = one_process_tokens(binary, folder)
    with cluster(binary, folder) as (lab, caravan, _, _):
        check(nodes_in_use(caravan) == [lab.node(i) for i in range(1, 5)],
              f"nodes: {nodes_in_use(caravan)}")
        before = lab.bytes()
        got = [caravan.complete(prompt, 24) for prompt in PROMPTS]
        check(got == wanted, f"{got}, one process: {wanted}")
        moved = [after - then for after, then in zip(lab.bytes(), before)]
        # Each of about 90 prompt tokens and 72 steps takes a row of 64 floats
        # through eight all-reduces and a hand-over of two.
        rows = sum(map(len, PROMPTS)) + 24 * len(PROMPTS)
        for host, count in enumerate(moved, start=1):
            check(count > rows * 64 * 4,
                  f"host {host} moved {count} bytes for {rows} rows")
        print(f"  bytes moved: {moved}")
        took = caravan.stop()
        print(f"  stopped in {took:.2f} s")


def survives_lost_hosts(binary, folder):
    with cluster(binary, folder) as (lab, caravan, port, token):
        wanted = caravan.complete(PROMPTS[2], 24)

        victim = lab.node(3)
        faults.strike_and_recover(
            caravan,
            lambda epoch: os.kill(caravan.engines(epoch)[2], signal.SIGKILL),
            rf"ended: rank 2 on {victim}: killed by signal 9 \(Killed\) at step")

        def kill_agent(_):
            lab.agents[3].kill()
            lab.agents[3].wait()
        faults.strike_and_recover(
            caravan, kill_agent, rf"ended: node {victim}: its agent's")
        check(victim not in nodes_in_use(caravan), "a lost node is in use")
        lab.start_agent(3, port, token, caravan.tag)
        caravan.output.wait_for(rf"node {victim} joined", 10,
                                after=len(caravan.output.lines()) - 5)

        victim = lab.node(2)
        faults.strike_and_recover(
            caravan, lambda _: lab.plug(2, "down"),
            rf"ended: node {victim}: no heartbeat of its agent for 3")
        check(victim not in nodes_in_use(caravan), "a cut node is in use")
        before = len(caravan.output.lines())
        lab.plug(2, "up")
        caravan.output.wait_for(rf"node {victim} joined", 20, before)

        # The next epoch uses all four again.
        faults.kill_engine(caravan, rank=0)
        check(len(nodes_in_use(caravan)) == NUM_HOSTS,
              f"nodes: {nodes_in_use(caravan)}")
        check(caravan.complete(PROMPTS[2], 24) == wanted, "other tokens")
        caravan.stop()
        for host, agent in lab.agents.items():
            wait_until(lambda: agent.poll() is not None, 5,
                       f"agent of host {host} ended")


def names_the_node_with_another_model(binary, folder):
    right = tiny_model(folder)
    os.mkdir(os.path.join(folder, "wrong"))
    other = tiny_model(os.path.join(folder, "wrong"), num_hidden_layers=6)
    with cluster(binary, folder, mounts={3: (other, right)}) as parts:
        lab, caravan = parts[0], parts[1]
        # On crowded cores another rank, which mpirun ends with it, may be
        # missed first.
        line = caravan.output.wait_for(
            rf"epoch [12] ended: rank 2 on {lab.node(3)}: .*", 60).group(0)
        check("model" in line or "fingerprint" in line, line)
        print(f"  {line}")
        caravan.stop()


def refuses_a_wrong_token(binary, folder):
    with cluster(binary, folder) as (lab, caravan, port, _):
        other = os.path.join(folder, "other")
        with os.fdopen(os.open(other, os.O_CREAT | os.O_WRONLY, 0o600),
                       "w") as out:
            out.write("another secret than the cluster's\n")
        refused = subprocess.run(
            [binary, "agent", "--join", f"{lab.address}:{port}",
             "--token-file", other, "--insecure", "--node-name", "stranger",
             "--runtime-dir", os.path.join(folder, "run")],
            text=True, capture_output=True, timeout=30)
        check(refused.returncode == 1, f"exit code {refused.returncode}")
        check("stranger" in refused.stderr and "token" in refused.stderr,
              refused.stderr)
        caravan.complete([1], 2)
        caravan.stop()


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    possible = subprocess.run([LAB_SCRIPT, "check"], text=True,
                              stdout=subprocess.PIPE)
    if possible.returncode != 0:
        print(f"skipped: {possible.stdout.strip()}")
        sys.exit(77)
    sys.exit(run_tests(
        [tokens_cross_the_wires, survives_lost_hosts,
         names_the_node_with_another_model, refuses_a_wrong_token],
        os.path.abspath(sys.argv[1])))
