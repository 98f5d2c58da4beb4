#!/usr/bin/env python3
"""Plants bugs, one at a time, in kernels and in code that drives devices, and fails unless a mode finds each.

A bug is a small change of a source below. The changed file is compiled and linked with the rest of its test, which is
then run in one mode after the other until one fails: the kernels' order, memory closed to the host, AddressSanitizer,
ThreadSanitizer. Called by CTest with a description of the build (tests/emulated_device/CMakeLists.txt).
"""

import argparse
import concurrent.futures
import json
import os
import pathlib
import subprocess
import sys
import tempfile

TESTS = "tests/emulated_device/tests/"
KERNELS = "worker/backend/cuda/"

# Headers of kernels, and what is compiled to plant bugs in them.
MATRIX_KERNEL = KERNELS + "matrix_product_kernel.cuh"
MATRIX_STAGE = KERNELS + "matrix_product_stage.cuh"
UNITS = {header: KERNELS + "quantized_matrix_product.cu" for header in (MATRIX_KERNEL, MATRIX_STAGE)}
ROTATE_PAIR = KERNELS + "rotate_pair.cuh"
UNITS[ROTATE_PAIR] = KERNELS + "rotate.cu"
MATRIX_TESTS = "All/ProductTest.*/Q4"

PROMPTS = KERNELS + "prompt_attention.cu"
PROMPT_TESTS = "PromptAttention*"

# (name, source, tests to run, text after which to look, what to change, into what)
BUGS = [
    ("read past a row", KERNELS + "prepare_rows.cu", "Prepare*", "void WriteHalves", "(i + 1 < a.cols)", "(i < a.cols)"),
    ("write past the rows", KERNELS + "prepare_rows.cu", "Prepare*", "void WriteHalves", "row / kMatrixGroup *",
     "(row / kMatrixGroup + 1) *"),
    ("sum of a warp for a block's", KERNELS + "prepare_rows.cu", "Prepare*", "float sum", "BlockSum<kThreads>", "WarpSum"),
    ("reduction in divergent code", KERNELS + "prepare_rows.cu", "Prepare*", "float sum", "  sum = Block",
     "  if (threadIdx.x < 64) sum = Block"),
    ("copied step not waited for", MATRIX_KERNEL, MATRIX_TESTS, "void ForEachStep", "CpAsyncWait<Shape::kStages - 2>();", ""),
    ("wait for a step too few", MATRIX_KERNEL, MATRIX_TESTS, "void ForEachStep", "kStages - 2", "kStages - 1"),
    ("copied step seen by its thread only", MATRIX_KERNEL, MATRIX_TESTS, "void ForEachStep", "TeamSync<Shape>();", ""),
    ("sums over steps still being read", MATRIX_KERNEL, MATRIX_TESTS, "void WriteSumOfTeams", "__syncthreads();", ""),
    ("sums read before they are written", MATRIX_KERNEL, MATRIX_TESTS, "shared[team]", "__syncthreads();", ""),
    ("tile beyond the weight", MATRIX_STAGE, MATRIX_TESTS, "ValueAt(", "place.stored_rows - 1", "place.stored_rows + 31"),
    ("rows of x that there are none of", MATRIX_STAGE, MATRIX_TESTS, "has_input_[n] =",
     "row + i % kMatrixGroup < a.num_rows", "true"),
    ("rows of the output that there are none of", MATRIX_KERNEL, MATRIX_TESTS, "void WriteMatrixSums",
     "if (row >= a.num_rows) return;", ""),
    ("padding that is stored", ROTATE_PAIR, "RotateTest/*", "void RotateAndStorePair",
     "if (place.block == kNoBlock) return;", ""),
    ("kernel that does not wait for the one before", KERNELS + "prepare_rows.cu", "Prepare*", "PrepareRowsKernel(Prepare",
     "WaitForPreviousKernel();", ""),
    ("results of the kernel before read too early", TESTS + "block_test.cu", "BlockTest.*", "void AddNeighbour",
     "  cuda::WaitForPreviousKernel();\n  out[threadIdx.x] = 41 + values[threadIdx.x ^ 1];",
     "  const int early = values[threadIdx.x ^ 1];\n  cuda::WaitForPreviousKernel();\n  out[threadIdx.x] = 41 + early;"),
    ("keys and values not waited for", PROMPTS, PROMPT_TESTS, "PromptKernel(AttentionArguments a)", "CpAsyncWait<0>();", ""),
    ("keys and values seen by one thread", PROMPTS, PROMPT_TESTS, "PromptKernel(AttentionArguments a)", "__syncthreads();", ""),
    ("copy over a step still being read", PROMPTS, PROMPT_TESTS, "PromptKernel(AttentionArguments a)",
     "(kStageUnits<kHeadDim> - stage)", "stage"),
    ("values that nobody sees", PROMPTS, PROMPT_TESTS, "void CopyStep", "begin + place < share.end()", "true"),
    ("missing barrier", TESTS + "block_test.cu", "BlockTest.*", "void Reverse", "__syncthreads();", ""),
    ("half of the block at a barrier", TESTS + "block_test.cu", "BlockTest.*", "void Reverse", "__syncthreads();",
     "if (threadIdx.x < 32) __syncthreads();"),
    ("uninitialized shared memory", TESTS + "block_test.cu", "BlockTest.*", "void Reverse", "  staged[threadIdx.x] =",
     "  if (threadIdx.x < 63) staged[threadIdx.x] ="),
    ("write past shared memory", TESTS + "block_test.cu", "BlockTest.*", "void Reverse", "staged[threadIdx.x] =",
     "staged[threadIdx.x + 1] ="),
    ("missing grid sync", TESTS + "block_test.cu", "BlockTest.*", "void SumOverGrid", "cuda::GridSync();", ""),
    ("missing fence", TESTS + "block_test.cu", "BlockTest.*", "void LastBlockSums", "__threadfence();", ""),
    ("flag read without acquire", TESTS + "block_test.cu", "BlockTest.*", "void Flags", "cuda::LoadAcquire(flag)",
     "*const_cast<volatile unsigned*>(flag)"),
    ("sum without an atomic", TESTS + "warp_test.cu", "WarpTest.*", "void Atomics", "atomicAdd(sum, 0.5f)",
     "*sum += 0.5f"),
    ("shuffle with a lane gone", TESTS + "warp_test.cu", "WarpTest.*", "void Shuffle",
     "const int lane", "if (threadIdx.x == 31) return;\n  const int lane"),
    ("mask without a lane", TESTS + "warp_test.cu", "WarpTest.*", "void Vote", "cuda::kFullWarp, threadIdx.x % 3",
     "0x7fffffffu, threadIdx.x % 3"),
    ("missing wait for cp.async", TESTS + "tensor_core_test.cu", "Tensor*", "void Product", "cuda::CpAsyncWait<0>();", ""),
    ("wait for too few groups", TESTS + "tensor_core_test.cu", "Tensor*", "void Product", "CpAsyncWait<0>",
     "CpAsyncWait<1>"),
    ("cp.async without commit", TESTS + "tensor_core_test.cu", "Tensor*", "void Product", "cuda::CpAsyncCommit();", ""),
    ("missing barrier after cp.async", TESTS + "tensor_core_test.cu", "Tensor*", "void Product", "__syncthreads();", ""),
    ("misaligned rows", TESTS + "tensor_core_test.cu", "Tensor*", "void Product", "[16][24]", "[16][20]"),
    ("missing event", TESTS + "stream_test.cu", "StreamTest.*", "forgotten event shows",
     "ASSERT_EQ(cudaStreamWaitEvent(b_, event_, 0), cudaSuccess);", ""),
    ("missing synchronization", TESTS + "stream_test.cu", "StreamTest.*", "forgotten synchronization shows",
     "ASSERT_EQ(cudaStreamSynchronize(a_), cudaSuccess);", ""),
    ("host reads device memory", TESTS + "stream_test.cu", "StreamTest.*", "QueriesMakeProgress",
     "values_.Get()[0]", "values_.data()[0]"),
    ("kernel uses freed memory", TESTS + "stream_test.cu", "StreamTest.*", "QueriesMakeProgress",
     "ASSERT_EQ(AddOne(a_), cudaSuccess);", "cudaFree(values_.data());\n  ASSERT_EQ(AddOne(a_), cudaSuccess);"),
    ("fork without join", TESTS + "graph_test.cu", "GraphTest.*", "ReplaysForkedWork",
     "ASSERT_EQ(cudaStreamWaitEvent(a_, join_, 0), cudaSuccess);", ""),
    ("graph that outlives what it holds", TESTS + "nccl_test.cc", "NcclTest.*", "CollectivesAreCapturedIntoGraphs",
     "cudaGraphExecDestroy(exec);", ""),
    ("mismatched collective", TESTS + "nccl_test.cc", "NcclTest.*", "void RecordAllReduce",
     "inout.size(),", "inout.size() - self.rank,"),
    ("collectives of different types", TESTS + "nccl_test.cc", "NcclTest.*", "void RecordAllReduce",
     "ncclFloat32,", "self.rank == 0 ? ncclFloat32 : ncclInt32,"),
    ("non-blocking call not polled for", TESTS + "nccl_test.cc", "NcclTest.*", "ncclInvalidArgument);\n  EXPECT_EQ(self",
     "EXPECT_EQ(self.State(), ncclSuccess);", ""),
]
# name, variant of the build, environment
MODES = [
    ("plain", "plain", {}),
    *[(f"seed {seed}", "plain", {"CARAVAN_EMULATED_SEED": str(seed)}) for seed in (1, 2, 3, 4)],
    ("protected", "plain", {"CARAVAN_EMULATED_PROTECT": "1"}),
    ("tsan", "tsan", {"TSAN_OPTIONS": "halt_on_error=1"}),
    ("asan", "asan", {}),
]


def test_of(source):
    """The test binary that a source is of, or that tests it."""
    if source.startswith(KERNELS):
        return "cuda_kernels_test"
    return "emulated_nccl_test" if "nccl" in source else "emulated_device_test"


# A source of each test binary as it is, which no mode may complain about: what is found is the bug, not how it was
# built. All other tests run in all modes anyway.
BUGS += [(f"none in {source}", source, tests, "", "", "")
         for source, tests in {test_of(bug[1]): bug[1:3] for bug in BUGS}.values()]


def plant(source, anchor, old, new):
    text = pathlib.Path(source).read_text()
    start = text.index(anchor)
    position = text.index(old, start)
    return text[:position] + new + text[position + len(old):]


def build(config, variant, source, text, folder):
    """The path of the test program, or None with what the compiler said."""
    part = config["variants"][variant]
    changed = folder / source
    changed.parent.mkdir(parents=True, exist_ok=True)
    changed.write_text(text)
    unit = UNITS.get(source)
    # Those of the precompiled headers.
    test_flags = part["test_flags"] if source.startswith(TESTS) else []
    target = folder / f"{changed.stem}.{variant}.o"
    program = folder / f"test.{variant}"
    compiled = subprocess.run(
        [config["compiler"], f"-I{folder}", *config["flags"], *part["flags"], *test_flags, "-x", "c++",
         "-c", unit or str(changed), "-o", str(target)],
        capture_output=True, text=True)
    if compiled.returncode != 0:
        return None, compiled.stderr
    own = f"/{pathlib.Path(unit or source).name}.o"
    test = test_of(source)
    wanted = [o for o in part["objects"] if f"/{test}.dir/" in o or f"/{test}_{variant}.dir/" in o]
    wanted = [o for o in wanted if not o.endswith(own)]
    linked = subprocess.run(
        [config["compiler"], "-pthread", *part["flags"], str(target), *wanted, *part["libraries"], *config["libraries"],
         "-o", str(program)], capture_output=True, text=True)
    return (program, "") if linked.returncode == 0 else (None, linked.stderr)


def find(config, bug):
    name, source, tests, anchor, old, new = bug
    try:
        text = plant(source, anchor, old, new)
    except ValueError:
        return name, None, f"{source} has changed: the bug cannot be planted"
    with tempfile.TemporaryDirectory() as folder:
        programs = {}
        for mode, variant, environment in MODES:
            if variant not in config["variants"]:
                continue
            if variant not in programs:
                programs[variant], said = build(config, variant, source, text, pathlib.Path(folder))
                if programs[variant] is None:
                    return name, None, f"does not compile ({variant}):\n{said}"
            try:
                run = subprocess.run([programs[variant], "--gtest_brief=1", f"--gtest_filter={tests}"],
                                     env={**os.environ, **environment}, capture_output=True, timeout=60)
            except subprocess.TimeoutExpired:
                return name, f"{mode} (does not end)", ""
            if run.returncode != 0:
                return name, mode, (run.stdout + run.stderr).decode(errors="replace")
    return name, None, "no mode finds it"


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("config", help="JSON written by CMake")
    parser.add_argument("--only", default="", help="part of a bug's name")
    arguments = parser.parse_args()
    config = json.loads(pathlib.Path(arguments.config).read_text())
    bugs = [bug for bug in BUGS if arguments.only in bug[0]]
    failures = 0
    with concurrent.futures.ThreadPoolExecutor(max_workers=min(4, os.cpu_count() or 1)) as pool:
        for name, mode, why in pool.map(lambda bug: find(config, bug), bugs):
            wrong = (mode is None) != name.startswith("none in ")
            print(f"{name:36} {mode or why}{', which is wrong: ' + why if wrong else ''}", flush=True)
            failures += wrong
    print(f"{len(bugs)} runs, {failures} wrong")
    return 1 if failures or not bugs else 0


if __name__ == "__main__":
    sys.exit(main())
