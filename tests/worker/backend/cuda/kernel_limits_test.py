#!/usr/bin/env python3
"""Holds every compiled kernel to the limits that stand beside it, and to no spilled register.

In the comment before a kernel: "Limits: 128 registers, 48 KiB of static shared memory." What the kernels use is what
ptxas said while compiling, for each architecture: cmake/record_kernel_resources.sh keeps it beside the objects, which
are this script's arguments. Run from the repository root.
"""

import collections
import pathlib
import re
import sys

FOLDER = re.compile(r"(worker/[\w/]+)/CMakeFiles/")  # of an object's sources
LIMITS = re.compile(r"Limits: (\d+) registers, (\d+) KiB of static shared memory\.")
KERNEL = re.compile(r"__global__[^;{]*?\b(\w+Kernel)\(")
ENTRY = re.compile(
    r"Compiling entry function '(?P<symbol>\w+)' for '(?P<architecture>\w+)'\n"
    r"(?:ptxas info.*\n)*?"
    r"\s*(?P<stack>\d+) bytes stack frame, (?P<stores>\d+) bytes spill stores, (?P<loads>\d+) bytes spill loads\n"
    r"ptxas info\s*: Used (?P<registers>\d+) registers(?P<rest>.*)\n")
Limit = collections.namedtuple("Limit", "registers shared_bytes")


def limits_of(text):
    """Kernel -> Limit, or None where nothing stands beside it."""
    found = {}
    for kernel in KERNEL.finditer(text):
        comment = []
        for line in reversed(text[:kernel.start()].splitlines()):
            if line.startswith("//"):
                comment.insert(0, line[2:].strip())
            elif not line.startswith("template"):
                break
        limit = LIMITS.search(" ".join(comment))
        found[kernel[1]] = Limit(int(limit[1]), int(limit[2]) * 1024) if limit else None
    return found


def name_of(symbol):
    """The function's own name: parts of a mangled symbol follow their lengths."""
    for digits in re.finditer(r"\d+", symbol):
        for start in range(len(digits[0])):
            end = digits.end() + int(digits[0][start:])
            part = symbol[digits.end():end]
            if part.endswith("Kernel") and len(part) == end - digits.end():
                return part
    return symbol


def check(entry, limit):
    """What is wrong with what ptxas said of a kernel."""
    shared = re.search(r"(\d+) bytes smem", entry["rest"])
    problems = []
    if int(entry["registers"]) > limit.registers:
        problems.append(f"registers: {entry['registers']}, at most {limit.registers}")
    if shared and int(shared[1]) > limit.shared_bytes:
        problems.append(f"static shared memory: {shared[1]} bytes, at most {limit.shared_bytes}")
    for what in ("stores", "loads"):
        if int(entry[what]) > 0:
            problems.append(f"spill {what}: {entry[what]} bytes, none allowed")
    return problems


def main(objects):
    folders = sorted({FOLDER.search(path)[1] for path in objects})
    limits = {}
    for source in (source for folder in folders for source in sorted(pathlib.Path(folder).glob("*.cu*"))):
        limits.update(limits_of(source.read_text()))
    problems = [f"{kernel}: no limits stand beside it" for kernel, limit in limits.items() if limit is None]
    seen = collections.Counter()
    for path in objects:
        for entry in ENTRY.finditer(pathlib.Path(path + ".resources").read_text()):
            name = name_of(entry["symbol"])
            seen[name] += 1
            if limits.get(name) is None:
                continue
            problems += [f"{name} for {entry['architecture']}: {what} ({entry['symbol']})"
                         for what in check(entry, limits[name])]
    problems += [f"{name}: compiled, but not found in {', '.join(folders)}" for name in seen if name not in limits]
    problems += [f"{name}: ptxas said nothing of it" for name in limits if name not in seen]
    print("\n".join(problems))
    print(f"{sum(seen.values())} kernels of {len(seen)} templates, {len(problems)} problems")
    return 1 if problems or not seen else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
