#!/usr/bin/env python3
"""The real model behind the API and on the terminal.

usage: real_model_api_test.py CARAVAN ENVIRONMENT_FOLDER
  Skipped (exit code 77) where SmolLM2's GGUF file is not: CARAVAN_TEST_GGUF
  names it, else it is looked for in the user's cache.
"""

import os
import pathlib
import signal
import subprocess
import sys
import time

from caravan_process import Caravan, check, run_tests
from openai_python import CLIENT_TEST, python_with_openai

SKIPPED = 77
NAME = "SmolLM2-135M-Instruct.Q4_1.gguf"
QUESTION = "What is the capital of France?"
ENOUGH = ["--max-model-len", "1024", "--kv-cache-memory", "256MiB"]
# The first token leads by little: arithmetic on quantized weights may begin
# the answer in another way.
FLOAT32 = ["--quantization", "none", "--dtype", "float32"]
# (tp, pp): as in the goldens; of 3 KV heads and 30 layers.
PLANS = [(1, 1), (2, 1), (3, 1), (4, 1), (1, 2), (1, 3), (2, 2), (3, 2)]


def model_file():
    named = os.environ.get("CARAVAN_TEST_GGUF")
    if named:
        return named
    cache = os.environ.get("XDG_CACHE_HOME", pathlib.Path.home() / ".cache")
    path = pathlib.Path(cache) / "caravan" / NAME
    return str(path) if path.exists() else None


def serves_openais_client(binary, environment, folder):
    arguments = [model_file(), "--port", "0", "--api-key", "secret", *FLOAT32,
                 *ENOUGH]
    with Caravan(binary, arguments) as caravan:
        caravan.wait_ready(120)
        result = subprocess.run(
            [python_with_openai(environment), CLIENT_TEST, caravan.url],
            env=dict(os.environ, CARAVAN_API_KEY="secret"), timeout=300)
        check(result.returncode == 0, "the client's test failed")
        chat = subprocess.run(
            [binary, "chat", "--url", caravan.url, "--api-key", "secret",
             "--temperature", "0", "--max-tokens", "20"],
            input=f"{QUESTION}\n", text=True, capture_output=True, timeout=120)
        check("Paris" in chat.stdout, f"chat said: {chat}")
        caravan.stop()


def answers_at_every_plan(binary, environment, folder):
    """Greedily and in float32 arithmetic: the same words everywhere."""
    answers = {}
    for tp, pp in PLANS:
        arguments = [model_file(), "--port", "0", "-tp", str(tp), "-pp",
                     str(pp), *FLOAT32, *ENOUGH]
        with Caravan(binary, arguments) as caravan:
            caravan.wait_ready(120)
            code, answer = caravan.post("/v1/chat/completions", {
                "messages": [{"role": "user", "content": QUESTION}],
                "temperature": 0, "max_tokens": 24})
            check(code == 200, f"the chat answered {code}: {answer}")
            answers[tp, pp] = answer["choices"][0]["message"]["content"]
            caravan.stop()
        print(f"  TP {tp} x PP {pp}: {answers[tp, pp]}")
    check(all("Paris" in answer for answer in answers.values()), answers)
    check(len(set(answers.values())) == 1, answers)


def answers_as_stored(binary, environment, folder):
    """By default with the file's own quantized weights, as the quickstart does:
    layouts that the numerics contract holds equal say the same, and it is an
    answer."""
    answers = {}
    for tp, pp in [(1, 1), (1, 3), (2, 2)]:
        arguments = [model_file(), "--port", "0", "-tp", str(tp), "-pp",
                     str(pp), *ENOUGH]
        with Caravan(binary, arguments) as caravan:
            caravan.wait_ready(120)
            check(caravan.status()["replicas"][0]["quantization"] == "auto",
                  "weights are not as stored")
            code, answer = caravan.post("/v1/chat/completions", {
                "messages": [{"role": "user",
                              "content": "Why is the sky blue?"}],
                "temperature": 0, "max_tokens": 64})
            check(code == 200, f"the chat answered {code}: {answer}")
            answers[tp, pp] = answer["choices"][0]["message"]["content"]
            caravan.stop()
        print(f"  TP {tp} x PP {pp}: {answers[tp, pp]}")
    check(all("Rayleigh scattering" in answer for answer in answers.values()),
          answers)
    check(answers[1, 1] == answers[1, 3], answers)


def run_starts_its_own_server(binary, environment, folder):
    result = subprocess.run(
        [binary, "run", model_file(), "Once upon a time", "--temperature", "0",
         "--max-tokens", "16", *ENOUGH],
        text=True, capture_output=True, timeout=120)
    check(result.returncode == 0, f"run ended so: {result}")
    check(len(result.stdout.split()) >= 5, f"run said: {result}")


def chat_starts_its_own_server(binary, environment, folder):
    result = subprocess.run(
        [binary, "chat", model_file(), "--temperature", "0", "--max-tokens",
         "20", *FLOAT32, *ENOUGH],
        input=f"{QUESTION}\n/quit\n", text=True, capture_output=True,
        timeout=120)
    check(result.returncode == 0, f"chat ended so: {result}")
    check("Paris" in result.stdout, f"chat said: {result}")


def ctrl_c_stops_a_run(binary, environment, folder):
    process = subprocess.Popen(
        [binary, "run", model_file(), "Once upon a time", "--max-tokens", "900",
         *ENOUGH],
        text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    try:
        check(process.stdout.read(1), "run said nothing")
        process.send_signal(signal.SIGINT)
        began = time.monotonic()
        code = process.wait(timeout=10)
        check(code == 130, f"exit code {code} after Ctrl-C")
        print(f"  ended in {time.monotonic() - began:.2f} s")
    finally:
        process.kill()
        process.communicate()


def main():
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    if model_file() is None:
        print(f"{NAME} is not here: set CARAVAN_TEST_GGUF")
        sys.exit(SKIPPED)
    sys.exit(run_tests(
        [serves_openais_client, answers_at_every_plan, answers_as_stored,
         run_starts_its_own_server, chat_starts_its_own_server,
         ctrl_c_stops_a_run],
        sys.argv[1], sys.argv[2]))


if __name__ == "__main__":
    main()
