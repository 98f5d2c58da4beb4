#!/bin/sh
# Runs a compiler's command line and puts what ptxas -v says of kernels beside the object, in OBJECT.resources, instead
# of on the screen. tests/worker/backend/cuda/kernel_limits_test.py reads it.
object=""
previous=""
for argument in "$@"; do
  if [ "$previous" = -o ]; then object="$argument"; fi
  previous="$argument"
done
"$@" 2> "$object.resources"
status=$?
grep -v -e "^ptxas info " -e "bytes stack frame" "$object.resources" >&2
exit $status
