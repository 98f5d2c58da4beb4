#!/usr/bin/env python3
"""Checks the includes of every source against the layers of docs/architecture.md.

Each folder may include itself, what LAYERS allows it, and third-party headers that VENDOR does not keep to
other folders. Run from the repository root; prints one line per violation.
"""

import pathlib
import re
import sys

PARTITION = ["partition/model", "partition/plan"]
# folder -> the project folders that it may include, besides itself and base.
LAYERS = {
    "base": [],
    "partition/model": [],
    "partition/plan": ["partition/model"],
    "worker/backend": [],
    "worker/comm": [],
    "worker/llama": ["worker/backend", "worker/comm"],
    "worker/engine": ["worker/backend", "worker/comm", "worker/llama", "proto", *PARTITION],
    "worker/agent": ["proto"],
    "coordinator/text": [*PARTITION],
    "coordinator/schedule": ["proto", *PARTITION],
    "coordinator/cluster": ["coordinator/schedule", "proto", *PARTITION],
    "coordinator/api": ["coordinator/schedule", "coordinator/text", *PARTITION],
    "cli": None,  # anything
    "bench": None,
    "tests": None,
}
# Headers that only some folders may include.
VENDOR = {
    r"mpi\.h": ["worker/comm/mpi"],
    r"nccl\.h": ["worker/comm/nccl"],
    r"cuda_runtime(_api)?\.h": ["worker/backend/cuda"],
    r"(grpcpp/.*|.*\.grpc\.pb\.h)": ["coordinator/cluster", "worker/agent", "worker/engine", "base/grpc_status"],
    r"boost/.*": ["coordinator/api", "cli"],
}
# Of those, what must stay out of headers altogether: it is not on every machine.
SOURCES_ONLY = re.compile(r"mpi\.h|nccl\.h|cuda_runtime(_api)?\.h")
INCLUDE = re.compile(r'^\s*#\s*include\s+[<"]([^>"]+)[>"]', re.MULTILINE)


def layer_of(path):
    matches = [layer for layer in LAYERS if path == layer or path.startswith(layer + "/")]
    return max(matches, key=len, default=None)


def check(path, header):
    if header.startswith("../") or header.startswith("./"):
        return "relative include"
    mine = layer_of(path)
    for pattern, allowed in VENDOR.items():
        if re.fullmatch(pattern, header) and mine != "tests":
            if not any(path.startswith(folder) for folder in allowed):
                return f"{header} belongs to {', '.join(allowed)}"
            if SOURCES_ONLY.fullmatch(header) and not path.endswith((".cc", ".cu")):
                return f"{header} belongs in .cc files only"
    if header.startswith("caravan/v1/"):
        target = "proto"
    else:
        target = layer_of(header)
    if target is None or target == mine or LAYERS[mine] is None or target == "base":
        return None
    if target not in LAYERS[mine]:
        return f"{mine} may not include {target} ({header})"
    return None


def main():
    sources = [p for folder in ("base", "partition", "worker", "coordinator", "cli", "bench", "tests")
               for p in sorted(pathlib.Path(folder).rglob("*")) if p.suffix in (".h", ".cc", ".cu", ".cuh")]
    problems = []
    for source in sources:
        for header in INCLUDE.findall(source.read_text()):
            problem = check(str(source), header)
            if problem:
                problems.append(f"{source}: {problem}")
    print("\n".join(problems))
    print(f"{len(sources)} sources, {len(problems)} violations")
    return 1 if problems or len(sources) < 50 else 0


if __name__ == "__main__":
    sys.exit(main())
