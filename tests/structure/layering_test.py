#!/usr/bin/env python3
"""Checks the includes of every source against the layers of docs/architecture.md, and that x.cc includes x.h first.

Each folder may include itself, what LAYERS allows it, and third-party headers that VENDOR does not keep to
other folders. A header that its source includes before all else compiles alone; the build verifies the others
(cmake/CaravanTargets.cmake). Run from the repository root; prints one line per violation.
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
    "worker/comm/nccl": ["worker/comm", "worker/backend"],
    "worker/llama": ["worker/backend", "worker/comm"],
    "worker/engine": ["worker/backend", "worker/comm", "worker/comm/nccl", "worker/llama", "proto", *PARTITION],
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
    r"cuda_(runtime(_api)?|fp16|bf16)\.h|cublasLt\.h|cooperative_groups\.h": [
        "worker/backend/cuda", "worker/comm/nccl", "bench/gpu"],
    r"(grpcpp/.*|.*\.grpc\.pb\.h)": ["coordinator/cluster", "worker/agent", "worker/engine", "base/grpc_status"],
    r"boost/.*": ["coordinator/api", "cli"],
}
# Of those, what must stay out of headers altogether: it is not on every machine.
SOURCES_ONLY = re.compile(r"mpi\.h|nccl\.h")
# And what may stand in headers that no other folder includes, directly or through others.
PRIVATE_HEADERS = re.compile(r"cuda_(runtime(_api)?|fp16|bf16)\.h|cublasLt\.h|cooperative_groups\.h")
CUDA_FOLDERS = ("worker/backend/cuda/", "worker/comm/nccl/", "bench/gpu/", "tests/")
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


def cuda_headers(includes):
    """The project's headers that need CUDA's, from a map of source to its includes."""
    found = {source for source, headers in includes.items() if any(PRIVATE_HEADERS.fullmatch(h) for h in headers)}
    while True:
        more = {source for source, headers in includes.items() if found.intersection(headers)} - found
        if not more:
            return found
        found |= more


def main():
    sources = [p for folder in ("base", "partition", "worker", "coordinator", "cli", "bench", "tests")
               for p in sorted(pathlib.Path(folder).rglob("*")) if p.suffix in (".h", ".cc", ".cu", ".cuh")]
    includes = {str(source): INCLUDE.findall(source.read_text()) for source in sources}
    needs_cuda = cuda_headers(includes)
    problems = []
    for source, headers in includes.items():
        own = re.sub(r"\.cc$", ".h", source)
        if own != source and own in includes and headers[:1] != [own]:
            problems.append(f"{source}: its first include must be {own}")
        for header in headers:
            problem = check(source, header)
            if not problem and header in needs_cuda and not source.startswith(CUDA_FOLDERS):
                problem = f"{header} needs CUDA's headers, which are not on every machine"
            if problem:
                problems.append(f"{source}: {problem}")
    print("\n".join(problems))
    print(f"{len(sources)} sources, {len(problems)} violations")
    return 1 if problems or len(sources) < 50 else 0


if __name__ == "__main__":
    sys.exit(main())
