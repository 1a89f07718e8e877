"""From a node in a cloud on which Docker runs too, containers reach machines outside, and nothing else.

The node is a network namespace with a machine outside that also answers as the clouds' metadata services do, and a
bridge with a container of Docker's behind, one port of which is published.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from inrush import settings
from launcher.launched import needs_root

pytestmark = needs_root

_NODE = """
import asyncio, atexit, json, os, socket, subprocess, sys
from dataclasses import replace
from pathlib import Path
state, blocked = Path(sys.argv[1]), json.loads(sys.argv[2])
sys.path[:0] = sys.argv[3:]
from launcher.launched import GIVEN, Node, make_layer
from inrush.launcher.client import Launcher
from inrush.launcher.boot import start_launcher

OUTSIDE, HOST, DOCKERS = "198.18.90.2", "198.18.90.1", "172.31.0.2"
METADATA = ["169.254.169.254", "169.254.170.2", "100.100.100.200", "168.63.129.16", "192.0.0.192"]
MACHINE = '''
import selectors, socket, subprocess, sys
print("made", flush=True); sys.stdin.readline()
own = [f"addr add {each} dev inside" for each in sys.argv[1:]]
for words in ("link set lo up", "link set inside up", *own, "route add default dev inside"):
    subprocess.run(["ip", *words.split()], check=True)
waiting = selectors.DefaultSelector()
for port in (53, 80, 8000):
    waiting.register(socket.create_server(("0.0.0.0", port)), selectors.EVENT_READ)
print("up", flush=True)
while True:
    for key, _ in waiting.select():
        with key.fileobj.accept()[0] as client:
            client.sendall(b"reached")
'''

def ip(words):
    subprocess.run(["ip", *words.split()], check=True)

def machine(link, *addresses):
    made = subprocess.Popen(["unshare", "-n", sys.executable, "-c", MACHINE, *addresses],
                            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    atexit.register(made.kill)
    assert made.stdout.readline() == "made\\n"
    ip(f"link add {link} type veth peer name inside netns {made.pid}")
    ip(f"link set {link} up")
    made.stdin.write("go\\n")
    made.stdin.flush()
    assert made.stdout.readline() == "up\\n"

def reach(address, port):
    try:
        with socket.create_connection((address, port), 2) as connection:
            return connection.recv(100).decode()
    except OSError as error:
        return type(error).__name__

CODE = '''
import json, socket, sys
found = {}
for address, port in TARGETS:
    try:
        with socket.create_connection((address, port), 2) as connection:
            found[f"{address}:{port}"] = connection.recv(100).decode()
    except OSError as error:
        found[f"{address}:{port}"] = type(error).__name__
print(json.dumps(found))
'''

async def use(name, given, targets):
    handle = start_launcher(state / name, given)
    node = Node(state / name, handle, Launcher(handle, lambda exited: node.on_exit(exited)))
    make_layer(node.layer)
    await node.launcher.connect()
    exited, text = await node.python(f"TARGETS = {targets!r}\\n{CODE}")
    await node.launcher.close()
    assert exited.code == 0, text
    return json.loads(text)

machine("cloud", f"{OUTSIDE}/24", *(f"{each}/32" for each in METADATA))
ip(f"addr add {HOST}/24 dev cloud")
ip(f"route add default via {OUTSIDE}")
ip("link add docker0 type bridge")
ip("link set docker0 up")
ip("addr add 172.31.0.1/24 dev docker0")
machine("published", f"{DOCKERS}/24")
ip("link set published master docker0")
subprocess.run(["nft", "-f", "-"], input='''table ip docker {
  chain pre { type nat hook prerouting priority -100; fib daddr type local tcp dport 8080 dnat to 172.31.0.2:80; }
  chain out { type nat hook output priority -100; fib daddr type local tcp dport 8080 dnat to 172.31.0.2:80; }
}''', text=True, check=True)
targets = [(OUTSIDE, 80), (HOST, 8080), ("172.31.0.1", 8080), (DOCKERS, 80), (METADATA[0], 53), (METADATA[0], 8000)]
targets += [(each, 80) for each in METADATA]
before = {f"{address}:{port}": reach(address, port) for address, port in targets}
assert set(before.values()) == {"reached"}, before
found = {
    "by default": asyncio.run(use("one", replace(GIVEN, blocked=tuple(blocked)), targets)),
    "nothing blocked": asyncio.run(use("two", replace(GIVEN, blocked=()), targets)),
}
print(json.dumps(found))
"""


def test_a_container_reaches_machines_outside_and_neither_metadata_nor_docker(state: Path) -> None:
    default = next(setting.default for setting in settings.SETTINGS if setting.name == "blocked_addresses")
    resolver = state / "resolv.conf"
    resolver.write_text("nameserver 169.254.169.254\n")
    inside = f'mount -t tmpfs none /run && mount --bind {resolver} /etc/resolv.conf && ip link set lo up && exec "$@"'
    node = [sys.executable, "-c", _NODE, str(state), json.dumps(settings.networks(default)), *sys.path]
    done = subprocess.run(
        ["unshare", "-n", "-m", "sh", "-c", inside, "sh", *node], capture_output=True, text=True, timeout=100
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout.splitlines()[-1])
    reached = {how: {name for name, said in each.items() if said == "reached"} for how, each in found.items()}
    metadata = {
        name for name in found["by default"] if name.startswith(("169.254.", "100.100.", "168.63.", "192.0.0."))
    }
    assert reached["by default"] == {"198.18.90.2:80", "169.254.169.254:53"}, "a resolver answers on its port alone"
    assert reached["nothing blocked"] == {"198.18.90.2:80", *metadata}
