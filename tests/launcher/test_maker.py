"""The process that makes namespaces ahead, as the launcher's loop hears it."""

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
    given: list[list[int]] = []

    def first() -> None:
        """Comes before the answer in the same turn, and takes it."""
        maker.wait()
        loop.unwatch(told)
        loop.later(0, stop)

    def stop() -> None:
        loop.running = False

    loop.watch(told, first)
    maker = Maker(loop, UserNamespaces(rootless=False).get(1_000_000_000))
    try:
        os.write(tell, b"x")  # what is ready first is heard first
        maker.nets(1, lambda fds, error: given.append(fds))
        assert select.select([maker._end], [], [], DEADLINE_S)[0]
        loop.run()
        assert [len(fds) for fds in given] == [1]
        assert not maker.ended
    finally:
        maker.close()
        os.waitpid(maker.pid, 0)
        for fds in given:
            messages.close_all(fds)
        for fd in (told, tell):
            os.close(fd)
