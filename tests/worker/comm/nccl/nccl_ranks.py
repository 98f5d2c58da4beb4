"""GPU ranks as processes (rank_process.h).

CARAVAN_TEST_NCCL_HOSTS=1 makes NCCL believe that each rank is on a host of its own, so that ranks may share one GPU.
"""

import os
import select
import subprocess

SLOWDOWN = int(os.environ.get("CARAVAN_TEST_SLOWDOWN", "1"))  # the programs': tests/support/slowdown.h
LIMIT = 60 * SLOWDOWN  # of anything that is waited for; generous


class Ranks:
    """Processes that have met."""

    def __init__(self, program, count, task, environment=None):
        self.processes = [
            subprocess.Popen([program, str(rank), task], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                             stderr=subprocess.PIPE, text=True,
                             env={**os.environ, **self.host_of(rank), **(environment or {})})
            for rank in range(count)]
        endpoints = [self.line(rank).split()[1] for rank in range(count)]
        self.tell_all(" ".join(endpoints))

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for process in self.processes:
            process.kill()
            process.communicate()

    @staticmethod
    def host_of(rank):
        return {"NCCL_HOSTID": f"test-{rank}"} if os.environ.get("CARAVAN_TEST_NCCL_HOSTS") else {}

    def tell_all(self, line):
        for process in self.processes:
            process.stdin.write(line + "\n")
            process.stdin.flush()

    def line(self, rank):
        stream = self.processes[rank].stdout
        if not select.select([stream], [], [], LIMIT)[0]:
            raise TimeoutError(f"rank {rank} says nothing")
        line = stream.readline().strip()
        if not line:
            raise EOFError(f"rank {rank} ended: {self.processes[rank].stderr.read()}")
        return line
