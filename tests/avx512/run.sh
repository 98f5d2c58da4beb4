#!/usr/bin/env bash
# The CPU kernels for AVX-512, on a machine that lacks it: their tests in a Linux of their own on an emulated Skylake-X.
#   tests/avx512/run.sh [BUILD]     BUILD: a build with tests, build/release if none is said
# Bochs emulates every instruction: this takes many minutes, and no time that the tests tell means anything. Its 1 core
# has 2 GiB of memory. Installs Debian's packages for it (as root or by sudo).
set -euo pipefail
cd "$(dirname "$0")/../.."
# shellcheck source=deploy/common.sh
. deploy/common.sh

BUILD="${1:-build/release}"
WORK="$PWD/build/avx512"
# A binary, then what of it GoogleTest is to run: what a model does, and what needs neither long nor much memory.
TESTS=(
  "backend_cpu_test *avx512*"
  "backend_cpu_conformance_test *avx512*:*SameBits*-*BackendMemory*"
  "golden_test SmallModels*tp1_pp1:SmallModels*tp3_pp2"
  "quantized_test -*RealModel*"
)

install_packages bochs bochsbios vgabios grub-pc-bin grub-common xorriso mtools cpio busybox-static

step "Get a kernel" "It is Debian's for the cloud; apt-get downloads it: see its message."
mkdir -p "$WORK/kernel"
if ! compgen -G "$WORK/kernel/boot/vmlinuz-*" >/dev/null; then
  PACKAGE="$(apt-cache depends linux-image-cloud-amd64 | sed -n 's/ *Depends: \(linux-image-.*\)/\1/p' | head -1)"
  (cd "$WORK" && apt-get download -q "$PACKAGE" && dpkg-deb -x "$PACKAGE"_*.deb kernel)
fi

step "Make its disc" "A test is missing if $BUILD has no tests: deploy/test.sh builds them."
ROOT="$WORK/root"
rm -rf "$ROOT" "$WORK/disc"
mkdir -p "$ROOT"/{bin,dev,proc,sys,tmp,tests/goldens} "$WORK/disc/boot/grub"
cp /bin/busybox "$ROOT/bin/"
cp -r tests/goldens/models "$ROOT/tests/goldens/"
for TEST in "${TESTS[@]}"; do
  BINARY="$BUILD/tests/${TEST%% *}"
  strip -o "$ROOT/bin/${TEST%% *}" "$BINARY"
  ldd "$BINARY" | grep -o '/[^ ]*' | while read -r LIBRARY; do
    mkdir -p "$ROOT$(dirname "$LIBRARY")"
    cp -Ln "$LIBRARY" "$ROOT$LIBRARY"
  done
done
{
  cat <<'END'
#!/bin/busybox sh
/bin/busybox --install -s /bin
mount -t devtmpfs none /dev
mount -t proc none /proc
mount -t sysfs none /sys
exec >/dev/ttyS0 2>&1
export GTEST_COLOR=no GTEST_BRIEF=0
grep -q avx512vl /proc/cpuinfo || echo 'FAILED: this kernel does not let programs use AVX-512'
END
  for TEST in "${TESTS[@]}"; do
    echo "/bin/${TEST%% *} --gtest_filter='${TEST#* }' || echo 'FAILED: ${TEST%% *}'"
  done
  echo "echo 'ALL HAVE RUN'; poweroff -f"
} >"$ROOT/init"
chmod +x "$ROOT/init"
(cd "$ROOT" && find . | cpio -o -H newc --quiet) >"$WORK/disc/boot/initrd"
cp "$WORK"/kernel/boot/vmlinuz-* "$WORK/disc/boot/vmlinuz"
# Bochs tells a wrong size of what XSAVEC saves, for which Linux would turn AVX off.
cat >"$WORK/disc/boot/grub/grub.cfg" <<'END'
set timeout=0
terminal_output console
menuentry tests {
  linux /boot/vmlinuz console=ttyS0,115200 quiet nosmp mitigations=off nopku clearcpuid=xsavec,xsaves lpj=1000000 tsc=reliable
  initrd /boot/initrd
}
END
grub-mkrescue -d /usr/lib/grub/i386-pc -o "$WORK/disc.iso" "$WORK/disc" >"$WORK/disc.log" 2>&1 || { cat "$WORK/disc.log"; exit 1; }
cat >"$WORK/bochsrc" <<END
display_library: rfb, options="timeout=0"
cpu: model=corei7_skylake_x, count=1, ips=50000000
megs: 2048
romimage: file=/usr/share/bochs/BIOS-bochs-latest
vgaromimage: file=/usr/share/bochs/VGABIOS-lgpl-latest
ata0-master: type=cdrom, path=$WORK/disc.iso, status=inserted
boot: cdrom
com1: enabled=1, mode=file, dev=$WORK/serial.txt
log: $WORK/bochs.log
error: action=ignore
info: action=ignore
plugin_ctrl: speaker=0, sb16=0, es1370=0
sound: waveoutdrv=dummy, waveindrv=dummy, midioutdrv=dummy
END

step "Run the tests on the emulated processor" "What it said is in $WORK/serial.txt."
rm -f "$WORK/serial.txt"
touch "$WORK/serial.txt"
tail -f "$WORK/serial.txt" &
TAIL=$!
trap '[ $? = 0 ] || say_failure; kill "$TAIL"' EXIT
# Its debugger waits to be told to go on.
echo c >"$WORK/go_on"
timeout 7200 nice bochs -q -f "$WORK/bochsrc" -rc "$WORK/go_on" </dev/null >"$WORK/bochs.txt" 2>&1 || true
if ! grep -q 'ALL HAVE RUN' "$WORK/serial.txt" || grep -q FAILED "$WORK/serial.txt"; then
  echo "AVX-512: FAILED" >&2
  exit 1
fi
echo "AVX-512: all passed"
