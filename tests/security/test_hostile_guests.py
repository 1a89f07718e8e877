"""User code that speaks to agent, server and launcher past its guest, in real containers of a real server.

Each program finds the sockets of its own process and sends what no guest of ours sends. Its container is to end, with
words that say why; the server, the launcher and the function beside it are to notice nothing.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from running_server import RunningServer, descendants, poll

SOCKETS = '''
import array, json, os, socket, struct, sys, time

def ends():
    """The stream of frames, and the socket of descriptors."""
    stream = side = None
    for fd in os.listdir("/proc/self/fd"):
        try:
            if "socket" not in os.readlink(f"/proc/self/fd/{fd}"):
                continue
            end = socket.socket(fileno=os.dup(int(fd)))
        except OSError:
            continue
        kind = end.getsockopt(socket.SOL_SOCKET, socket.SO_TYPE)
        if end.family == socket.AF_UNIX and kind == socket.SOCK_STREAM:
            stream = end
        elif kind == socket.SOCK_SEQPACKET:
            side = end
    stream.setblocking(True)
    return stream, side

def frame(header, body=b""):
    head = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("!II", 4 + len(head) + len(body), len(head)) + head + body
'''

PROGRAM = """
import inrush
app = inrush.App("hostile")

@app.function(retries=0)
def attack():
    exec(CODE, globals())
    return "nobody ended it"

@app.function()
def beside(x):
    return x + 1

@app.local_entrypoint()
def main():
    print("BESIDE", beside.remote(1))
    try:
        print("ATTACK", attack.remote())
    except Exception as error:
        print("ATTACK", type(error).__name__, str(error).replace("\\n", " "))
    print("BESIDE", beside.remote(2))
"""

ATTACKS = {
    "lengths that amplify": """
L = 8 << 20
stream, _ = ends()
header = {"t": "log", "c": "", "s": "stdout", "n": [L, -L] * 150 + [L]}
stream.sendall(frame(header, bytes(L)))
time.sleep(20)
""",
    "descriptors with garbage": """
stream, side = ends()
fds = [os.open("/dev/null", 0) for _ in range(198)]
side.sendmsg([b"not json"], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", fds))])
call = inrush.current_function_call_id()
stream.sendall(frame({"t": "out", "c": call, "i": [0], "s": [0], "n": [20]}, b'B{"id":"x","bytes":1}'[:20]))
time.sleep(20)
""",
    "a result for another's call": """
stream, _ = ends()
stream.sendall(frame({"t": "out", "c": "ca-" + "0" * 32, "i": [0], "s": [0], "n": [2]}, b"Px"))
time.sleep(20)
""",
    "nesting without end": """
stream, _ = ends()
stream.sendall(frame(b'{"t":"log","c":' + b"[" * 200000, b""))
time.sleep(20)
""",
    "an SDK's frame that is none": """
stream, _ = ends()
stream.sendall(frame({"t": "link", "n": [200000]}, b"\\x91" * 200000))
time.sleep(20)
""",
    "an SDK's frame of a million ids": """
import inrush.client._connection
stream, _ = ends()
body = b"\\x91\\x93\\xa3Ask\\x01\\x92\\xa8HasBlobs\\xdd" + struct.pack("!I", 30_000_000) + b"\\xa0" * 30_000_000
stream.sendall(frame({"t": "link", "n": [len(body)]}, body))
time.sleep(20)
""",
}


@pytest.fixture
def hostile(own_server: RunningServer) -> RunningServer:
    own_server.start()
    own_server.run(PROGRAM.replace("CODE", repr("pass")))  # images and templates are there
    return own_server


def descriptors(pid: int) -> int:
    return len(os.listdir(f"/proc/{pid}/fd"))


def most_memory_mib(pid: int) -> int:
    rows = Path(f"/proc/{pid}/status").read_text().splitlines()
    return int(next(row for row in rows if row.startswith("VmHWM")).split()[1]) >> 10


def test_who_breaks_the_protocol_ends_alone_and_costs_nothing(hostile: RunningServer) -> None:
    launcher = hostile.launcher_pid()
    began = {pid: descriptors(pid) for pid in (hostile.pid, launcher)}
    memory = most_memory_mib(hostile.pid)
    for name, code in ATTACKS.items():
        done = hostile.run(PROGRAM.replace("CODE", repr(SOCKETS + code)))
        said = [line for line in done.stdout.splitlines() if line.startswith(("ATTACK", "BESIDE"))]
        assert said[0] == "BESIDE 2", name
        assert said[2] == "BESIDE 3", name
        assert "broke the protocol" in said[1], f"{name}: {said[1]}"
        assert "Traceback" not in said[1]
    assert most_memory_mib(hostile.pid) - memory < 150, "the largest frame has thirty MiB"
    for pid, before in began.items():
        poll(lambda pid=pid, before=before: descriptors(pid) < before + 150, 30.0)  # berths made ahead have some
    assert "defect" not in hostile.log()


LINGER = """
listener = socket.create_server(("127.0.0.1", 0))
talker = socket.create_connection(listener.getsockname())
talker.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 600))
talker.setblocking(False)
try:
    while talker.send(bytes(1 << 20)):
        pass
except BlockingIOError:
    pass
stream, side = ends()
rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [talker.fileno()]))]
for end in (side, stream):
    try:
        end.sendmsg([frame({"t": "log", "c": "", "s": "stdout", "n": [1]}, b"x")], rights)
    except PermissionError:
        pass
talker.close()
time.sleep(1)
"""


def test_nobody_waits_for_a_socket_that_lingers_and_was_passed(hostile: RunningServer) -> None:
    """The kernel closes what a message brings and nobody takes, in the process that reads."""
    done = hostile.run(PROGRAM.replace("CODE", repr(SOCKETS + LINGER)), timeout_s=60.0)
    said = [line for line in done.stdout.splitlines() if line.startswith(("ATTACK", "BESIDE"))]
    assert said == ["BESIDE 2", "ATTACK nobody ended it", "BESIDE 3"]


TEMPLATE = '''
import inrush
HOOK = """
import os, socket, array, sys, time
import inrush.guest.isolate as iso
def become(job, names, report, *_):
    fds = [os.open("/dev/null", 0) for _ in range(190)]
    try:
        report.sendmsg([DATA], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", fds))])
        os.write(1, b"HOOK sent all" + bytes([10]))
    except OSError:
        os.write(1, b"HOOK sent no descriptors" + bytes([10]))
        report.send(DATA)
    time.sleep(5)
iso.become = become
"""
app = inrush.App("hook")

@app.cls(enable_memory_snapshot=True, single_use_containers=True)
class S:
    @inrush.enter(snap=True)
    def hook(self):
        exec(HOOK, {})

    @inrush.method()
    def run(self):
        return "ran"

@app.local_entrypoint()
def main():
    for _ in range(4):
        try:
            print("RUN", S().run.remote())
        except Exception as error:
            print("RUN", type(error).__name__)
'''


@pytest.mark.parametrize("data", ['b"garbage"', 'b"[" * 100000', 'b"[]"', """b'{"ready": [["a", NaN]]}'"""])
def test_a_template_that_sends_garbage_leaves_no_descriptors_in_the_launcher(hostile: RunningServer, data: str) -> None:
    launcher = hostile.launcher_pid()
    before = descriptors(launcher)
    done = hostile.run(TEMPLATE.replace("DATA", data))
    assert "HOOK sent" in done.stdout
    assert "RUN" in done.stdout
    assert hostile.launcher_pid() == launcher, "it goes on"
    poll(lambda: descriptors(launcher) < before + 150, 30.0, lambda: str(descriptors(launcher)))
    assert launcher in descendants(hostile.pid)
