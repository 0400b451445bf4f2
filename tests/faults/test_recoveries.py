"""Recoveries that are disturbed at random: however often, in the end they have replayed everything.

At each of some segments drawn from the seed something dies or vanishes; a failure shows the seed.
"""

import contextlib
import os
import signal

import pytest
from support.clusters import fingerprint
from support.protection import wait_until
from support.recoveries import MB, end_of, replaced, unmounted

from catalog.walname import Segment
from walstream.ops import postmaster

pytestmark = pytest.mark.timeout(1800)


def test_a_recovery_that_is_disturbed_at_random_replays_everything(story, recovery, rounds, chance):
    for _ in range(rounds):
        timeline = chance.choice([1, 2])
        ours = recovery("--target-tli", str(timeline))
        gates = chosen_gates(ours.plan, story, timeline, chance)
        ours.start(*gates)
        for position, gate in enumerate(gates):
            ours.wait_at(gate)
            chance.choice(DISTURBANCES)(ours, gates[position:], chance)
        assert ours.cluster.wait_for_recovery(timeout=120) == "ended", ours.cluster.log_text()
        assert fingerprint(ours.cluster) == story.content[timeline]
        wait_until(ours.has_left_nothing)
        ours.cluster.close()


def chosen_gates(plan, story, timeline, chance):
    """Five segments that the recovery will ask for, in that order."""
    first, last = (Segment.parse(plan[key], MB).number for key in ("first_wal", "last_needed_wal"))
    numbers = sorted(chance.sample(range(first + 1, last), 5))
    on = (lambda number: story.path.timeline_of(number, MB)) if timeline == 2 else (lambda number: 1)
    return [Segment(on(number), number).name(MB) for number in numbers]


def nothing(ours, gates, chance):
    ours.open()


def prefetcher_dies(ours, gates, chance):
    pid = ours.prefetcher()
    if pid is not None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
        wait_until(lambda: postmaster.is_gone(pid))
    ours.open()


def server_ends(ours, gates, chance):
    end_of(ours.cluster, chance.choice(["fast", "immediate", "killed"]))
    ours.open()
    ours.start(*gates[1:])


def repository_vanishes(ours, gates, chance):
    with unmounted(ours.story):
        ours.open()
        wait_for_trouble(ours, gates)


def segments_vanish(ours, gates, chance):
    """Some that may be in the lookahead already, and some behind."""
    number = Segment.parse(gates[0], MB).number
    stored = ours.story.protection.stored()
    names = [gates[0][:8] + name[8:] for name in (Segment(1, number + far).name(MB) for far in range(15))]
    content = chance.choice([None, b"spoilt"])
    with contextlib.ExitStack() as stack:
        for name in chance.sample([name for name in names if name in stored], 1):
            stack.enter_context(replaced(stored[name], content))
        ours.open()
        wait_for_trouble(ours, gates)


def wait_for_trouble(ours, gates):
    """Until a command waits, or the recovery has come to the next gate or its end without one."""
    said = ours.cluster.log_text().count("trying again")

    def is_there():
        done = postmaster.is_in_production(ours.cluster.directory) if not gates[1:] else ours.is_at(gates[1])
        return done or ours.cluster.log_text().count("trying again") > said

    wait_until(is_there, timeout=60)


DISTURBANCES = [nothing, prefetcher_dies, server_ends, repository_vanishes, segments_vanish]
