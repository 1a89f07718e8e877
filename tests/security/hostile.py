"""A process with every capability over a container's network, which no container has: the network's isolation must hold
even so.

It runs in the network namespace of a container as the host's root, so it may make raw sockets, change addresses and
hardware addresses, and listen promiscuously.
"""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

_TOOLS = '''
import fcntl, json, os, socket, struct, subprocess, sys, time
GIVEN = json.loads(sys.argv[1])
MAC = fcntl.ioctl(socket.socket(), 0x8927, struct.pack("256s", b"eth0"))[18:24]
ALL = b"\\xff" * 6

def ip(words):
    subprocess.run(["ip", *words.split()], check=True)

def raw():
    """A socket that sends and hears whole frames of eth0, promiscuously."""
    made = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3))
    made.bind(("eth0", 0))
    made.setsockopt(263, 1, struct.pack("IHH8x", socket.if_nametoindex("eth0"), 1, 0))
    made.settimeout(0.05)
    return made

def heard(sock, for_s):
    """All frames that come in within a time, but for those that this machine sends."""
    found, end = [], time.monotonic() + for_s
    while time.monotonic() < end:
        try:
            frame, where = sock.recvfrom(4000)
        except TimeoutError:
            continue
        if where[2] != 4:
            found.append(frame)
    return found

def total(data):
    words = struct.unpack(f"!{len(data) // 2}H", data)
    value = sum(words)
    value = (value >> 16) + (value & 0xFFFF)
    return ~(value + (value >> 16)) & 0xFFFF

def packet(source, target, port, payload=b"stolen"):
    """An IPv4 datagram of UDP, to that port."""
    udp = struct.pack("!HHHH", 4444, port, 8 + len(payload), 0) + payload
    ends = socket.inet_aton(source) + socket.inet_aton(target)
    head = struct.pack("!BBHHHBBH", 0x45, 0, 20 + len(udp), 1, 0, 64, 17, 0) + ends
    return head[:10] + struct.pack("!H", total(head)) + head[12:] + udp

def frame(body, kind=b"\\x08\\x00", source=None, target=None):
    return (target or MAC) + (source or MAC) + kind + body

def arp(operation, mac, address, target="0.0.0.0", to=ALL):
    """Says that `address` is at `mac`."""
    body = struct.pack("!HHBBH", 1, 0x800, 6, 4, operation) + mac + socket.inet_aton(address)
    return frame(body + b"\\0" * 6 + socket.inet_aton(target), b"\\x08\\x06", mac, to)
'''


def begin(pid: int, code: str, **given: Any) -> subprocess.Popen[str]:
    """Start Python code in the network namespace of a process. It prints `up` once it is at work, and JSON at its
    end.
    """
    command = ["nsenter", f"--net=/proc/{pid}/ns/net", sys.executable, "-c", _TOOLS + code, json.dumps(given)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def up(process: subprocess.Popen[str]) -> None:
    """Wait until it says that it is at work."""
    assert process.stdout is not None
    line = process.stdout.readline()
    assert line == "up\n", process.communicate()[1]


def result(process: subprocess.Popen[str]) -> Any:
    """What it prints at its end."""
    out, errors = process.communicate(timeout=60)
    assert process.returncode == 0, errors
    return json.loads(out.splitlines()[-1])


def run(pid: int, code: str, **given: Any) -> Any:
    """Run Python code there to its end; what it prints."""
    return result(begin(pid, code, **given))
