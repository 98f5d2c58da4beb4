#!/usr/bin/env python3
"""GPU ranks as processes: the conformance suite, and one of them killed or stopped in the middle of its work.

Usage: nccl_processes_test.py RANK_PROGRAM
"""

import signal
import sys
import time
import unittest

from nccl_ranks import LIMIT, SLOWDOWN, Ranks

PROGRAM = sys.argv.pop(1)
TIMEOUT = 2 * SLOWDOWN  # nccl_rank.cc


class NcclProcessesTest(unittest.TestCase):
    def test_the_conformance_suite_passes(self):
        for count in (1, 2, 3, 6):
            with self.subTest(ranks=count), Ranks(PROGRAM, count, "suite") as ranks:
                for rank, process in enumerate(ranks.processes):
                    self.assertEqual(process.wait(LIMIT), 0, f"rank {rank}: {process.stderr.read()}")

    def lose(self, how, transport):
        """Rank 1 of three is lost in each operation; what the others say, and after how long."""
        for operation in ("all-reduce", "all-reduce-by-chunks", "all-gather", "messages"):
            with self.subTest(operation=operation), Ranks(
                    PROGRAM, 3, operation, {"CARAVAN_EMULATED_NCCL": transport}) as ranks:
                for rank in range(3):
                    self.assertEqual(ranks.line(rank), "running")
                begin = time.monotonic()
                ranks.processes[1].send_signal(how)
                ended = {rank: ranks.line(rank) for rank in (0, 2)}
                yield operation, ended, time.monotonic() - begin
                ranks.processes[1].send_signal(signal.SIGCONT)

    def test_a_rank_that_is_killed_is_named_at_once(self):
        for transport in ("peer", "network"):
            for operation, ended, took in self.lose(signal.SIGKILL, transport):
                self.assertLess(took, 10 * SLOWDOWN)
                for rank, line in ended.items():
                    self.assertIn("UNAVAILABLE", line, f"rank {rank} in {operation}")
                    # In a ring, who does not wait for it may see its neighbour's end first.
                    if operation != "messages":
                        self.assertIn("failed: group=tp0 peer=1: it closed the connection", line)
                self.assertTrue(any("peer=1" in line for line in ended.values()), ended)

    def test_a_rank_that_stands_still_is_named_after_the_timeout(self):
        for operation, ended, took in self.lose(signal.SIGSTOP, "peer"):
            self.assertLess(took, TIMEOUT + 18 * SLOWDOWN)
            for rank, line in ended.items():
                self.assertIn("DEADLINE_EXCEEDED", line, f"rank {rank} in {operation}")
                self.assertIn(" timed out: group=tp0 peer=", line)
            if operation != "messages":
                for line in ended.values():
                    self.assertIn(f"peer=1 after={TIMEOUT}s", line)
            self.assertTrue(any("peer=1 " in line for line in ended.values()), ended)


if __name__ == "__main__":
    unittest.main()
