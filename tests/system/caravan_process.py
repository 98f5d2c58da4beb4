"""A `caravan serve` under test: its process, its log, its HTTP, its children.

Standard library only.
"""

import contextlib
import http.client
import json
import os
import pathlib
import re
import signal
import subprocess
import tempfile
import threading
import time
import urllib.parse

READY = re.compile(r"Caravan is ready: (http://\S+)/v1")
ENGINES = ("caravan-engine", "caravan-engine-cuda")
ENDED = re.compile(r"replica \d+ epoch (\d+) ended: (.*)")


class TestFailure(AssertionError):
    pass


def check(condition, message):
    if not condition:
        raise TestFailure(message)


def tiny_model(folder, **changes):
    """Writes the config.json of a model of a few hundred kilobytes."""
    config = {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "vocab_size": 512,
        "hidden_size": 64,
        "intermediate_size": 160,
        "num_hidden_layers": 4,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "max_position_embeddings": 2048,
        "rms_norm_eps": 1e-5,
        "rope_theta": 10000.0,
        "tie_word_embeddings": False,
        "torch_dtype": "float32",
        "bos_token_id": 1,
        "eos_token_id": 2,
        "hidden_act": "silu",
    }
    config.update(changes)
    path = pathlib.Path(folder) / "tiny"
    path.mkdir(exist_ok=True)
    (path / "config.json").write_text(json.dumps(config))
    return str(path)


class Output:
    """What a process writes to standard error, line by line."""

    def __init__(self, process, name):
        self.name = name
        self._lines = []
        self._changed = threading.Condition()
        self._ended = False
        self._thread = threading.Thread(
            target=self._read, args=(process.stderr,), daemon=True)
        self._thread.start()

    def _read(self, stream):
        for line in stream:
            with self._changed:
                self._lines.append(line.rstrip("\n"))
                self._changed.notify_all()
        with self._changed:
            self._ended = True
            self._changed.notify_all()

    def lines(self):
        with self._changed:
            return list(self._lines)

    def all_lines(self):
        """Once the process and all that it started have ended."""
        self._thread.join(timeout=10)
        check(self._ended, f"{self.name} still has its output open")
        return self.lines()

    def find(self, pattern, after=0):
        """The first match in lines from number `after` on."""
        for line in self.lines()[after:]:
            match = re.search(pattern, line)
            if match:
                return match
        return None

    def wait_for(self, pattern, seconds, after=0):
        deadline = time.monotonic() + seconds
        while True:
            match = self.find(pattern, after)
            if match:
                return match
            with self._changed:
                left = deadline - time.monotonic()
                if left <= 0 or self._ended:
                    break
                self._changed.wait(timeout=min(left, 0.5))
        match = self.find(pattern, after)
        if match:
            return match
        raise TestFailure(
            f"{self.name} did not say {pattern!r} within {seconds} s; it said:\n"
            + "\n".join(self.lines()[-40:]))


def processes():
    """(pid, environment) of all processes that can be looked at."""
    for entry in os.listdir("/proc"):
        if not entry.isdigit():
            continue
        with contextlib.suppress(OSError):
            raw = pathlib.Path("/proc", entry, "environ").read_bytes()
            state = pathlib.Path("/proc", entry, "stat").read_text()
            if state.rsplit(")", 1)[1].split()[0] == "Z":
                continue
            yield int(entry), dict(
                part.split("=", 1)
                for part in raw.decode(errors="replace").split("\0")
                if "=" in part)


def command_of(pid):
    with contextlib.suppress(OSError):
        raw = pathlib.Path("/proc", str(pid), "cmdline").read_bytes()
        return raw.decode(errors="replace").split("\0")
    return []


class Caravan:
    """One `caravan serve`; use as a context manager."""

    def __init__(self, binary, arguments, prefix=(), environment=None):
        self.binary = str(binary)
        self.tag = f"{os.getpid()}-{id(self)}"
        # Inherited by agent and engines: finds everything that this server
        # started, also what lost its parent.
        self._environment = dict(os.environ, CARAVAN_TEST_TAG=self.tag)
        self._environment.update(environment or {})
        self.process = subprocess.Popen(
            [*prefix, self.binary, "serve", *arguments],
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE, text=True, errors="replace",
            env=self._environment)
        self.output = Output(self.process, "caravan serve")
        self.url = None

    def __enter__(self):
        return self

    def __exit__(self, kind, value, traceback):
        if kind is not None:
            print("--- what the server said:")
            print("\n".join(self.output.lines()[-60:]))
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.process.wait(timeout=15)
        self.process.kill()
        self.process.wait()
        for pid, _ in self.descendants():
            with contextlib.suppress(OSError):
                os.kill(pid, signal.SIGKILL)

    def wait_ready(self, seconds=60):
        self.url = self.output.wait_for(READY, seconds).group(1)
        return self.url

    # --- processes

    def descendants(self):
        """(pid, environment) of everything that the server started."""
        return [(pid, env) for pid, env in processes()
                if env.get("CARAVAN_TEST_TAG") == self.tag
                and pid != self.process.pid]

    def of_epoch(self, epoch):
        return [pid for pid, env in self.descendants()
                if env.get("CARAVAN_EPOCH") == str(epoch)]

    def engines(self, epoch=None):
        """rank -> pid of the engines of an epoch."""
        found = {}
        for pid, env in self.descendants():
            command = command_of(pid)
            if not command or os.path.basename(command[0]) not in ENGINES:
                continue
            if epoch is not None and env.get("CARAVAN_EPOCH") != str(epoch):
                continue
            rank = env.get("OMPI_COMM_WORLD_RANK", env.get("CARAVAN_RANK"))
            # None: it was not yet the engine when its environment was read.
            if rank is not None:
                found[int(rank)] = pid
        return found

    def agent(self):
        for pid, _ in self.descendants():
            if command_of(pid)[1:2] == ["agent"]:
                return pid
        raise TestFailure("no agent runs")

    # --- HTTP

    # Seconds that an answer may take.
    patience = 60

    def connect(self, timeout=None):
        address = urllib.parse.urlparse(self.url)
        return http.client.HTTPConnection(
            address.hostname, address.port, timeout=timeout or self.patience)

    def get(self, path):
        connection = self.connect()
        connection.request("GET", path)
        answer = connection.getresponse()
        return answer.status, answer.read().decode()

    def post(self, path, body):
        connection = self.connect()
        connection.request("POST", path, json.dumps(body),
                           {"Content-Type": "application/json"})
        answer = connection.getresponse()
        return answer.status, json.loads(answer.read().decode())

    def status(self):
        code, body = self.get("/status")
        check(code == 200, f"/status answered {code}: {body}")
        return json.loads(body)

    def epoch(self):
        return self.status()["replicas"][0]["epoch"]

    def complete(self, prompt, max_tokens, **fields):
        """The ids of a greedy completion of token ids."""
        body = {"model": self.model(), "prompt": prompt, "temperature": 0,
                "max_tokens": max_tokens, "ignore_eos": True,
                "return_token_ids": True}
        body.update(fields)
        code, answer = self.post("/v1/completions", body)
        check(code == 200, f"completion answered {code}: {answer}")
        return answer["choices"][0]["token_ids"]

    def model(self):
        _, body = self.get("/v1/models")
        return json.loads(body)["data"][0]["id"]

    def stop(self, seconds=5):
        """SIGTERM, and all must be gone in time with exit code 0."""
        began = time.monotonic()
        self.process.send_signal(signal.SIGTERM)
        try:
            code = self.process.wait(timeout=seconds)
        except subprocess.TimeoutExpired:
            raise TestFailure(f"still running {seconds} s after SIGTERM")
        took = time.monotonic() - began
        check(code == 0, f"exit code {code} after SIGTERM")
        # The server sees other hosts' agents leave, not their processes end.
        try:
            wait_until(lambda: not self.descendants(), seconds - took,
                       "the end of all processes")
        except TestFailure:
            left = [(pid, command_of(pid)) for pid, _ in self.descendants()]
            raise TestFailure(f"left running after the end: {left}")
        return took


class Streams:
    """Streaming completions in threads, each of which records its end."""

    def __init__(self, caravan, count, max_tokens):
        self._caravan = caravan
        self._body = {"model": caravan.model(), "max_tokens": max_tokens,
                      "temperature": 0, "ignore_eos": True, "stream": True,
                      "return_token_ids": True}
        self.tokens = [0] * count
        self.errors = [None] * count
        self._threads = [
            threading.Thread(target=self._run, args=(i,), daemon=True)
            for i in range(count)]
        for thread in self._threads:
            thread.start()

    def _run(self, index):
        try:
            connection = self._caravan.connect(timeout=60)
            connection.request(
                "POST", "/v1/completions",
                json.dumps(dict(self._body, prompt=[5, 6, 7 + index])),
                {"Content-Type": "application/json"})
            answer = connection.getresponse()
            if answer.status != 200:
                self.errors[index] = (answer.status, answer.read().decode())
                return
            for raw in answer:
                line = raw.decode().strip()
                if not line.startswith("data: ") or line == "data: [DONE]":
                    continue
                event = json.loads(line[len("data: "):])
                if "error" in event:
                    self.errors[index] = (event["error"].get("code"), line)
                    return
                self.tokens[index] += 1
        except OSError as error:
            self.errors[index] = ("transport", str(error))

    def wait_flowing(self, seconds=30):
        """Until every stream has had a few tokens."""
        deadline = time.monotonic() + seconds
        while not all(count >= 3 for count in self.tokens):
            check(time.monotonic() < deadline,
                  f"streams do not flow: {self.tokens} {self.errors}")
            time.sleep(0.01)

    def join(self, seconds):
        deadline = time.monotonic() + seconds
        for thread in self._threads:
            thread.join(max(0.0, deadline - time.monotonic()))
            check(not thread.is_alive(), "a stream did not end")


def wait_until(condition, seconds, what):
    deadline = time.monotonic() + seconds
    while not condition():
        check(time.monotonic() < deadline, f"{what}: not within {seconds} s")
        time.sleep(0.02)


def cpu_seconds(pids):
    """User and system time of processes so far."""
    ticks = 0
    for pid in pids:
        with contextlib.suppress(OSError):
            fields = pathlib.Path("/proc", str(pid), "stat").read_text() \
                .rsplit(")", 1)[1].split()
            ticks += int(fields[11]) + int(fields[12])
    return ticks / os.sysconf("SC_CLK_TCK")


def run_tests(tests, *arguments):
    """Runs functions one after the other, each with a temporary folder."""
    failed = []
    for test in tests:
        began = time.monotonic()
        with tempfile.TemporaryDirectory(prefix="cvt") as folder:
            try:
                test(*arguments, folder)
                result = "ok"
            except TestFailure as failure:
                result = f"FAILED: {failure}"
                failed.append(test.__name__)
        print(f"{test.__name__}: {result} ({time.monotonic() - began:.1f} s)",
              flush=True)
    return 1 if failed else 0
