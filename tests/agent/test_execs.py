"""Commands in containers, with pipes and with a terminal."""

from __future__ import annotations

from agent.desk import Desk
from inrush import wire

ECHO = "def f(x):\n    return x\n"


async def finished(desk: Desk, id: str) -> tuple[int, bytes, bytes, str]:
    """Exit code, standard output and error, and the failure of a command."""
    end = await desk.hear(wire.ExecOutput, lambda said: said.exec == id and said.code >= 0)
    pieces = [said for said in desk.said if isinstance(said, wire.ExecOutput) and said.exec == id]
    out, err = (b"".join(piece.data for piece in pieces if piece.stream == stream) for stream in (1, 2))
    return end.code, out, err, end.error


async def test_a_command_runs_in_a_running_container_with_its_environment(desk: Desk) -> None:
    await desk.started("co-1", desk.spec(ECHO), env=(("MINE", "here"),))
    script = "echo $MINE $INRUSH_CONTAINER_ID; ls /root; echo trouble >&2; exit 7"
    desk.tell(wire.ExecIn("ex-1", "co-1", ("sh", "-c", script)))
    code, out, err, _ = await finished(desk, "ex-1")
    assert (code, err) == (7, b"trouble\n")
    assert out.splitlines()[0] == b"here co-1"
    assert b"program.py" in out


async def test_its_input_is_passed_on_until_it_is_closed(desk: Desk) -> None:
    await desk.started("co-1", desk.spec(ECHO))
    desk.tell(wire.ExecIn("ex-1", "co-1", ("cat",)))
    desk.tell(wire.ExecInput("ex-1", b"one\n"))
    await desk.hear(wire.ExecOutput, lambda said: b"one" in said.data)
    desk.tell(wire.ExecInput("ex-1", b"two\n", close=True))
    assert (await finished(desk, "ex-1"))[:2] == (0, b"one\ntwo\n")


async def test_a_terminal_has_its_size_and_can_be_interrupted(desk: Desk) -> None:
    await desk.started("co-1", desk.spec(ECHO))
    desk.tell(wire.ExecIn("ex-1", "co-1", ("sh",), tty=True, rows=30, columns=100))
    sleeper = "sh -c 'echo on $(tty); exec sleep 600'"
    desk.tell(wire.ExecInput("ex-1", f"stty size; {sleeper}\n".encode()))
    await desk.hear(wire.ExecOutput, lambda said: b"30 100" in said.data)
    await desk.hear(wire.ExecOutput, lambda said: b"on /dev/pts/0\r\n" in said.data)
    desk.tell(wire.ExecInput("ex-1", b"\x03"))
    await desk.hear(wire.ExecOutput, lambda said: b"^C" in said.data)
    desk.tell(wire.ExecInput("ex-1", rows=50, columns=120))
    desk.tell(wire.ExecInput("ex-1", b"stty size; exit 5\n"))
    code, out, _, _ = await finished(desk, "ex-1")
    assert code == 5
    assert b"50 120" in out


async def test_a_terminal_whose_person_has_gone_hangs_up_and_an_input_ends(desk: Desk) -> None:
    await desk.started("co-1", desk.spec(ECHO))
    desk.tell(wire.ExecIn("ex-1", "co-1", ("sh", "-c", "echo up; sleep 600; true"), tty=True))
    await desk.hear(wire.ExecOutput, lambda said: b"up" in said.data)
    desk.tell(wire.ExecInput("ex-1", gone=True))
    assert (await finished(desk, "ex-1"))[0] == 128 + 1
    desk.tell(wire.ExecIn("ex-2", "co-1", ("cat",)))
    desk.tell(wire.ExecInput("ex-2", gone=True))
    assert (await finished(desk, "ex-2"))[0] == 0


async def test_a_program_that_is_not_there_and_a_container_that_is_not_there_are_told(desk: Desk) -> None:
    await desk.started("co-1", desk.spec(ECHO))
    desk.tell(wire.ExecIn("ex-1", "co-1", ("no-such-program",)))
    code, _, _, error = await finished(desk, "ex-1")
    assert code != 0
    assert "no-such-program" in error
    desk.tell(wire.ExecIn("ex-2", "co-9", ("true",)))
    code, _, _, error = await finished(desk, "ex-2")
    assert code != 0
    assert "co-9" in error


async def test_when_its_container_ends_the_command_has_ended_too(desk: Desk) -> None:
    await desk.started("co-1", desk.spec(ECHO))
    desk.tell(wire.ExecIn("ex-1", "co-1", ("sh", "-c", "echo begun; sleep 600")))
    await desk.hear(wire.ExecOutput, lambda said: b"begun" in said.data)
    desk.tell(wire.StopContainer("co-1", kill=True))
    code, _, _, _ = await finished(desk, "ex-1")
    assert code == 128 + 9
