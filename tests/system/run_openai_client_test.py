#!/usr/bin/env python3
"""Starts a server and runs openai_client_test.py against it.

usage: run_openai_client_test.py WORK_FOLDER SERVER [SERVER ARGUMENTS]
  The server prints a line with its address, http://HOST:PORT, when it is
  ready, and ends on SIGTERM. The client is installed into WORK_FOLDER, unless
  the Python that CARAVAN_TEST_PYTHON names has it.
"""

import re
import subprocess
import sys
import threading
import time

from openai_python import CLIENT_TEST, python_with_openai

READY_SECONDS = 120
STOP_SECONDS = 10
TEST_SECONDS = 300


def await_address(server):
    """The address from the server's output; what follows is thrown away."""
    found = []
    is_found = threading.Event()

    def read():
        for line in server.stdout:
            match = re.search(r"http://[\w.:\[\]-]+:\d+", line)
            if match and not found:
                found.append(match.group(0))
                is_found.set()
        is_found.set()

    threading.Thread(target=read, daemon=True).start()
    deadline = time.monotonic() + READY_SECONDS
    is_found.wait(timeout=deadline - time.monotonic())
    if not found:
        raise SystemExit(
            f"no address from {server.args} in {READY_SECONDS} s; "
            f"exit code: {server.poll()}"
        )
    return found[0]


def main():
    if len(sys.argv) < 3:
        sys.exit(__doc__)
    python = python_with_openai(sys.argv[1])
    server = subprocess.Popen(
        sys.argv[2:], stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        text=True, errors="replace",
    )
    try:
        address = await_address(server)
        test = subprocess.run(
            [python, CLIENT_TEST, address],
            timeout=TEST_SECONDS,
        )
    finally:
        server.terminate()
        try:
            server.wait(timeout=STOP_SECONDS)
        except subprocess.TimeoutExpired:
            server.kill()
            raise
    if server.returncode != 0:
        sys.exit(f"the server ended with {server.returncode}")
    sys.exit(test.returncode)


if __name__ == "__main__":
    main()
