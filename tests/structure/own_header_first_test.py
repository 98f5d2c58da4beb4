#!/usr/bin/env python3
"""Checks that every x.cc includes x.h before all else, which proves that the header compiles alone.

The build verifies only the headers that no such source includes (cmake/CaravanTargets.cmake). Run from the repository
root; prints one line per violation.
"""

import pathlib
import re
import sys

INCLUDE = re.compile(r'^\s*#\s*include\s+[<"]([^>"]+)[>"]', re.MULTILINE)


def main():
    sources = [source for folder in ("base", "partition", "worker", "coordinator", "cli", "bench", "tests")
               for source in sorted(pathlib.Path(folder).rglob("*.cc")) if source.with_suffix(".h").exists()]
    problems = []
    for source in sources:
        header = source.with_suffix(".h").as_posix()
        first = INCLUDE.search(source.read_text())
        if first is None or first.group(1) != header:
            problems.append(f"{source}: its first include must be {header}")
    print("\n".join(problems))
    print(f"{len(sources)} sources, {len(problems)} violations")
    return 1 if problems or len(sources) < 200 else 0


if __name__ == "__main__":
    sys.exit(main())
