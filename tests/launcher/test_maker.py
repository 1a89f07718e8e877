"""The maker, the process that makes namespaces ahead, and its answers on the launcher's loop."""

from __future__ import annotations

import os
import select

import pytest

from deadline import DEADLINE_S
from inrush.launcher.loop import Loop
from inrush.launcher.maker import Maker
from inrush.launcher.userns import UserNamespaces
from inrush.linux import messages


@pytest.mark.timeout(60)
def test_an_answer_that_was_waited_for_in_the_turn_in_which_the_loop_heard_of_it_is_taken_once(loop: Loop) -> None:
    told, tell = os.pipe()
    given: list[int] = []

    def first() -> None:
        """Comes before the answer in the same turn, and takes it."""
        maker.wait()
        loop.unwatch(told)
        loop.later(0, stop)

    def stop() -> None:
        loop.running = False

    loop.watch(told, first)
    owner = UserNamespaces(rootless=False).get(1_000_000_000).owner
    maker = Maker(loop)
    try:
        os.write(tell, b"x")  # what is ready first is heard first
        maker.nets(owner, 1, lambda fd, error: given.append(fd))
        assert select.select([maker._end], [], [], DEADLINE_S)[0]
        loop.run()
        assert [fd >= 0 for fd in given] == [True]
        assert not maker.ended
    finally:
        maker.close()
        os.waitpid(maker.pid, 0)
        messages.close_all(given)
        for fd in (told, tell):
            os.close(fd)
