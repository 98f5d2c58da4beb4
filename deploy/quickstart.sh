#!/usr/bin/env bash
# From a bare Debian 12 to an answer: installs packages, builds, gets a real chat model, starts a coordinator with four
# CPU engines (tensor parallel 2 x pipeline parallel 2), streams one answer and goes on serving.
#   ./deploy/quickstart.sh [--once] [--model PATH] [--port N] [--question TEXT]
set -euo pipefail
# shellcheck source=deploy/common.sh
. "$(dirname "$0")/common.sh"

ONCE=false
MODEL=""
PORT=8000
QUESTION="Why is the sky blue?"
while [ $# -gt 0 ]; do
  case "$1" in
    --once) ONCE=true ;;
    --model) MODEL="$(cd "$CALLER" && realpath "$2")"; shift ;;
    --port) PORT="$2"; shift ;;
    --question) QUESTION="$2"; shift ;;
    *) sed -n '2,4s/^# //p' deploy/quickstart.sh; trap - EXIT; exit 2 ;;
  esac
  shift
done

install_packages "${BUILD_PACKAGES[@]}"
build release -DCARAVAN_BUILD_TESTS=OFF -DCARAVAN_BUILD_BENCHMARKS=OFF
[ -n "$MODEL" ] || fetch_model

step "Start the cluster" "See the lines above. If port $PORT is taken, try --port 8001."
caravan=build/release/bin/caravan
"$caravan" serve "$MODEL" -tp 2 -pp 2 --port "$PORT" &
server=$!
stop() {
  kill "$server" 2>/dev/null || true
  wait "$server" 2>/dev/null || true
}
trap '[ $? = 0 ] || say_failure; stop' EXIT
trap 'trap - EXIT; stop; exit 130' INT TERM
ready="import urllib.request; urllib.request.urlopen('http://127.0.0.1:$PORT/health')"
until python3 -c "$ready" 2>/dev/null; do
  kill -0 "$server" 2>/dev/null
  sleep 0.2
done

printf '\n> %s\n' "$QUESTION"
echo "$QUESTION" | "$caravan" chat --url "http://127.0.0.1:$PORT" --temperature 0
if "$ONCE"; then exit 0; fi

cat <<END

Caravan goes on serving at http://127.0.0.1:$PORT/v1 (Ctrl-C ends it). Try it from another terminal:

  curl http://127.0.0.1:$PORT/v1/chat/completions -H 'Content-Type: application/json' \\
    -d '{"messages": [{"role": "user", "content": "Tell me about camels."}], "stream": true}'

END
wait "$server"
