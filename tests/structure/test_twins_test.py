#!/usr/bin/env python3
"""Checks that every source of the pure and the coordinator's folders has its test.

A source's test is its twin, the same path under tests/ with _test.cc. The private parts of a folder, which are
driven through the folder's public functions, are listed with the test that drives them. Run from the repository root.
"""

import pathlib
import sys

FOLDERS = ["partition", "coordinator"]
# Private part -> the test of the same mirrored folder that drives it.
DRIVEN_BY = {
    "coordinator/api/api_service": "api_server",
    "coordinator/api/chat_writer": "response_writer",
    "coordinator/api/client_stream": "disconnect",
    "coordinator/api/completion_writer": "response_writer",
    "coordinator/api/connection": "http_server",
    "coordinator/api/generation_exchange": "disconnect",
    "coordinator/api/http_message": "http_head",
    "coordinator/api/json_output": "response_writer",
    "coordinator/api/random_id": "api_server",
    "coordinator/api/response_fields": "response_writer",
    "coordinator/api/served_model": "api_server",
    "coordinator/api/unsupported_fields": "generation_parameters",
    "coordinator/cluster/byte_stream": "cluster",
    "coordinator/cluster/cluster_actions": "cluster",
    "coordinator/cluster/grpc_engine_group": "cluster",
    "coordinator/cluster/plan_proto": "replica_planner",
    "coordinator/text/alpaca_template": "chat_template",
    "coordinator/text/bpe_segment_encoder": "tokenizer_json",
    "coordinator/text/chatml_template": "chat_template",
    "coordinator/text/detect_chat_template": "chat_template",
    "coordinator/text/folder": "load_tokenizer",
    "coordinator/text/llama2_template": "chat_template",
    "coordinator/text/llama3_template": "chat_template",
    "coordinator/text/sentencepiece_bytes": "sentencepiece_model",
    "coordinator/text/sentencepiece_file": "sentencepiece_model",
    "coordinator/text/tokenizer": "load_tokenizer",
    "coordinator/text/tokenizer_config": "load_tokenizer",
    "coordinator/text/tokenizer_json_steps": "tokenizer_json",
    "coordinator/text/vicuna_template": "chat_template",
    "partition/model/gguf_header": "gguf_file",
    "partition/model/hf_rope": "hf_config",
    "partition/plan/layout": "plan",
    "partition/plan/rank_memory": "plan",
}


def main():
    problems = []
    sources = [p for folder in FOLDERS for p in sorted(pathlib.Path(folder).rglob("*.cc"))]
    names = {str(p.with_suffix("")) for p in sources}
    for name in sorted(names):
        twin = pathlib.Path("tests") / (name + "_test.cc")
        driver = DRIVEN_BY.get(name)
        if twin.exists():
            if driver:
                problems.append(f"{name} has a twin: strike it from DRIVEN_BY")
        elif not driver:
            problems.append(f"{name}.cc has no test: write {twin}")
        elif not (twin.parent / (driver + "_test.cc")).exists():
            problems.append(f"{name}.cc is said to be driven by {twin.parent / driver}_test.cc, which is not there")
    problems += [f"{name}.cc is listed in DRIVEN_BY and is not there" for name in DRIVEN_BY if name not in names]
    print("\n".join(problems))
    print(f"{len(sources)} sources, {len(problems)} without their test")
    return 1 if problems or not sources else 0


if __name__ == "__main__":
    sys.exit(main())
