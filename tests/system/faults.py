"""What a server must do when a part of it is lost, whatever its engines are."""

import os
import signal
import time

from caravan_process import ENDED, Streams, check, command_of, wait_until

RECOVERY_SECONDS = 10


def strike_and_recover(caravan, strike, cause):
    """Streams flow, `strike(epoch)` hits, all must be well within ten seconds.

    `cause` is the pattern of the one line that must name it.
    """
    epoch = caravan.epoch()
    before = len(caravan.output.lines())
    streams = Streams(caravan, count=8, max_tokens=1500)
    streams.wait_flowing()
    began = time.monotonic()
    strike(epoch)

    caravan.output.wait_for(cause, RECOVERY_SECONDS, before)
    named = time.monotonic() - began
    wait_until(lambda: not caravan.of_epoch(epoch), RECOVERY_SECONDS,
               f"processes of epoch {epoch} gone")
    wait_until(lambda: caravan.get("/health")[0] == 200,
               RECOVERY_SECONDS, "the replica back")
    tokens = caravan.complete([1, 2, 3], 8)
    took = time.monotonic() - began
    check(took <= RECOVERY_SECONDS, f"recovery took {took:.1f} s")
    check(len(tokens) == 8, f"the new epoch gave {tokens}")

    streams.join(5)
    for error in streams.errors:
        check(error is not None, "a stream of the lost epoch ended well")
        check("send the request again" in str(error),
              f"a stream ended with {error}")
    causes = [line for line in caravan.output.lines()[before:]
              if ENDED.search(line)]
    check(len(causes) == 1, f"not one cause but: {causes}")
    print(f"  {causes[0]}\n  named after {named:.2f} s, served again after "
          f"{took:.2f} s", flush=True)


def kill_engine(caravan, rank):
    def strike(epoch):
        os.kill(caravan.engines(epoch)[rank], signal.SIGKILL)
    strike_and_recover(
        caravan, strike,
        rf"ended: rank {rank} on \S+: killed by signal 9 \(Killed\) "
        r"at step \d+")


def stop_engine(caravan, rank):
    def strike(epoch):
        os.kill(caravan.engines(epoch)[rank], signal.SIGSTOP)
    strike_and_recover(
        caravan, strike,
        rf"ended: rank {rank} on \S+: no progress for \S+ at step \d+ in \S+")


def kill_mpirun(caravan):
    def strike(epoch):
        found = [pid for pid in caravan.of_epoch(epoch)
                 if os.path.basename(command_of(pid)[0]).startswith("mpirun")]
        check(len(found) == 1, f"mpirun runs as {found}")
        os.kill(found[0], signal.SIGKILL)
    strike_and_recover(
        caravan, strike,
        r"ended: node \S+: mpirun killed by signal 9 \(Killed\)")


def kill_twice(caravan, rank):
    """A second fault while the replica recovers from the first."""
    epoch = caravan.epoch()
    before = len(caravan.output.lines())
    os.kill(caravan.engines(epoch)[rank], signal.SIGKILL)
    wait_until(lambda: rank in caravan.engines(epoch + 1), RECOVERY_SECONDS,
               "the next epoch's engines")
    os.kill(caravan.engines(epoch + 1)[rank], signal.SIGKILL)
    for lost in (epoch, epoch + 1):
        caravan.output.wait_for(rf"epoch {lost} ended: ", RECOVERY_SECONDS,
                                before)
        wait_until(lambda: not caravan.of_epoch(lost), RECOVERY_SECONDS,
                   f"processes of epoch {lost} gone")
    wait_until(lambda: caravan.get("/health")[0] == 200, RECOVERY_SECONDS,
               "the replica back")
    check(len(caravan.complete([1, 2, 3], 8)) == 8, "no tokens")
    causes = [line for line in caravan.output.lines()[before:]
              if ENDED.search(line)]
    check(len(causes) == 2, f"not two causes but: {causes}")


def kill_agent(caravan):
    def strike(epoch):
        os.kill(caravan.agent(), signal.SIGKILL)
    strike_and_recover(caravan, strike, r"ended: node \S+: its agent's")
