#!/usr/bin/env python3
"""Replicas of GPU ranks as processes, against what Hugging Face transformers says of small models.

Usage: golden_nccl_test.py RANK_PROGRAM
"""

import pathlib
import sys
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "comm" / "nccl"))

from nccl_ranks import LIMIT, Ranks  # noqa: E402

PROGRAM = sys.argv.pop(1)
# Emulated devices work while the host waits for another rank, as GPUs do.
ENVIRONMENT = {"CARAVAN_EMULATED_STREAMS": "background"}
MODELS = 3  # golden_nccl_rank.cc


class GoldenNcclTest(unittest.TestCase):
    def test_every_layout_gives_the_golden_tokens(self):
        for tp, pp in ((2, 1), (1, 2), (2, 2)):
            with self.subTest(tp=tp, pp=pp), Ranks(PROGRAM, tp * pp, f"{tp}x{pp}", ENVIRONMENT) as ranks:
                for _ in range(MODELS):
                    for rank in range(tp * pp):
                        self.assertEqual(ranks.line(rank), "passed")
                    ranks.tell_all("go on")
                for process in ranks.processes:
                    self.assertEqual(process.wait(LIMIT), 0)


if __name__ == "__main__":
    unittest.main()
