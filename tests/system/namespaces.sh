#!/usr/bin/env bash
# A lab of emulated hosts on this machine: each has its own network namespace,
# host name and TMPDIR, and all hang on one bridge. Needs root and ip(8).
#
#   namespaces.sh check              exit code 0, or 77 and the reason
#   namespaces.sh up LAB N           hosts 1..N at 10.x.y.1.. /24; prints the
#                                    bridge's address on this machine, 10.x.y.254
#   namespaces.sh exec LAB I CMD...  runs CMD as host I (exec: same process id)
#   namespaces.sh link LAB I up|down plugs host I's cable in or out
#   namespaces.sh bytes LAB I        prints bytes received and sent by host I
#   namespaces.sh down LAB           kills what runs there and removes it all
#
# LAB is a name of 1 to 8 lower case letters and digits; its subnet follows
# from it. Host I is called LAB-I.
set -euo pipefail

die() { echo "namespaces.sh: $*" >&2; exit 2; }

check() {
  if [ "$(id -u)" != 0 ]; then echo "not root"; exit 77; fi
  for tool in ip unshare hostname; do
    command -v "$tool" > /dev/null || { echo "no $tool command"; exit 77; }
  done
  local probe="cvcheck$$"
  if ! ip netns add "$probe" 2> /dev/null; then
    echo "network namespaces are not permitted"; exit 77
  fi
  local result=0
  ip -n "$probe" link add probe type veth peer name probe-peer 2> /dev/null &&
    ip -n "$probe" link add probe-br type bridge 2> /dev/null &&
    unshare --uts true 2> /dev/null || result=77
  ip netns delete "$probe"
  [ "$result" = 0 ] || { echo "veth, bridge or UTS is not permitted"; exit 77; }
}

subnet() {  # of the lab's name, within 10.64.0.0/10
  local sum
  sum=$(printf '%s' "$1" | cksum | cut -d' ' -f1)
  echo "10.$((64 + sum % 64)).$((sum / 64 % 256))"
}

folder() { echo "/tmp/caravan-lab-$1"; }

up() {
  local lab=$1 count=$2 net
  net=$(subnet "$lab")
  down "$lab"
  ip link add "$lab-br" type bridge
  ip addr add "$net.254/24" dev "$lab-br"
  ip link set "$lab-br" up
  for ((i = 1; i <= count; ++i)); do
    ip netns add "$lab-$i"
    ip link add "$lab-v$i" type veth peer name eth0 netns "$lab-$i"
    ip link set "$lab-v$i" master "$lab-br" up
    ip -n "$lab-$i" addr add "$net.$i/24" dev eth0
    ip -n "$lab-$i" link set eth0 up
    ip -n "$lab-$i" link set lo up
    mkdir -p "$(folder "$lab")/$i"
  done
  echo "$net.254"
}

run() {
  local lab=$1 i=$2; shift 2
  unset XDG_RUNTIME_DIR
  export TMPDIR; TMPDIR="$(folder "$lab")/$i"
  # shellcheck disable=SC2016  # expands in the inner shell
  exec ip netns exec "$lab-$i" unshare --uts \
    sh -c 'hostname "$0" && exec "$@"' "$lab-$i" "$@"
}

down() {
  local lab=$1 host link
  for host in $(ip netns list | cut -d' ' -f1 | grep "^$lab-" || true); do
    for _ in $(seq 100); do
      [ -n "$(ip netns pids "$host")" ] || break
      ip netns pids "$host" | xargs -r kill -KILL 2> /dev/null || true
      sleep 0.02
    done
    ip netns delete "$host"
  done
  # A namespace outlives its name while sockets linger: take its cable at once.
  for link in /sys/class/net/"$lab"-v*; do
    ip link delete "$(basename "$link")" 2> /dev/null || true
  done
  ip link delete "$lab-br" 2> /dev/null || true
  rm -rf "$(folder "$lab")"
}

[ $# -ge 1 ] || die "see the top of this file"
[ "$1" = check ] || [[ "${2:-}" =~ ^[a-z0-9]{1,8}$ ]] || die "bad lab '${2:-}'"
case "$1" in
  check) check ;;
  up) up "$2" "$3" ;;
  exec) shift; run "$@" ;;
  link) ip link set "$2-v$3" "$4" ;;
  bytes)
    # The bridge's end sends what the host receives.
    cat "/sys/class/net/$2-v$3/statistics/"{tx,rx}_bytes | paste -sd' ' ;;
  down) down "$2" ;;
  *) die "unknown command '$1'" ;;
esac
