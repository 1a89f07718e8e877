"""How many no-op inputs a guest runs a second, and what CPU one costs it: the guest alone, over its socket.

    python benchmarks/guest_noop.py [--inputs 20000] [--credits 64] [--rounds 30]

The driver plays the agent: it keeps `--credits` inputs in flight, in frames of up to 256.
"""

from __future__ import annotations

import argparse
import json
import os
import pickle
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from inrush import frames

PROGRAMS = {"sync": "def f(x):\n    return x\n", "async": "async def f(x):\n    return x\n"}
PAYLOAD = b"P" + pickle.dumps(((1,), {}))
FRAME_INPUTS = 256


class Driver:
    """One guest, and what it answers."""

    def __init__(self, source: str, max_inputs: int) -> None:
        self._root = tempfile.TemporaryDirectory(prefix="inrush-bench-")
        Path(self._root.name, "program.py").write_text(source)
        self._socket, theirs = socket.socketpair()
        command = [sys.executable, "-m", "inrush.guest", str(theirs.fileno())]
        self.process = subprocess.Popen(command, pass_fds=[theirs.fileno()], cwd=self._root.name)
        theirs.close()
        self._parser = frames.Parser(frames.plain_header)
        spec = {
            "module": "program",
            "qualname": "f",
            "root": self._root.name,
            "max_inputs": max_inputs,
            "timeout_s": 60,
        }
        self.send({"t": "load", "spec": spec})
        while not any(header["t"] == "ready" for header in self.read()):
            pass

    def send(self, header: dict[str, Any], payloads: list[bytes] | None = None) -> None:
        self._socket.sendall(frames.pack(header, payloads or []))

    def read(self) -> list[dict[str, Any]]:
        return [header for header, _ in self._parser.feed(self._socket.recv(1 << 18))]

    def map(self, call: str, inputs: int, credits: int) -> float:
        """Seconds for so many inputs, with so many in flight."""
        begun = time.perf_counter()
        sent = done = 0
        while done < inputs:
            count = min(credits - (sent - done), inputs - sent, FRAME_INPUTS)
            if count > 0:
                indexes = list(range(sent, sent + count))
                self.send({"t": "run", "c": call, "m": "", "k": "map", "i": indexes}, [PAYLOAD] * count)
                sent += count
            if sent - done >= credits or sent == inputs:
                done += sum(len(header["i"]) for header in self.read() if header["t"] == "out")
        return time.perf_counter() - begun

    def cpu_s(self) -> float:
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def close(self) -> None:
        self._socket.close()
        self.process.wait()
        self._root.cleanup()


def measure(kind: str, max_inputs: int, args: argparse.Namespace) -> dict[str, float]:
    driver = Driver(PROGRAMS[kind], max_inputs)
    try:
        driver.map("warm", 2000, args.credits)
        before = driver.cpu_s()
        times = [driver.map(f"ca-{n}", args.inputs, args.credits) for n in range(args.rounds)]
        cpu_us = (driver.cpu_s() - before) / (args.inputs * args.rounds) * 1e6
        single = [driver.map(f"one-{n}", 1, 1) * 1e6 for n in range(2000)]
    finally:
        driver.close()
    rates = [args.inputs / seconds for seconds in times]
    return {
        "inputs_per_s": round(statistics.median(rates)),
        "inputs_per_s_worst": round(min(rates)),
        "cpu_us_per_input": round(cpu_us, 1),
        "one_input_us_p50": round(statistics.median(single)),
        "one_input_us_p95": round(statistics.quantiles(single, n=20)[18]),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--inputs", type=int, default=20_000)
    parser.add_argument("--credits", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=30)
    args = parser.parse_args()
    results = {f"{kind} max_inputs={n}": measure(kind, n, args) for kind in PROGRAMS for n in (1, 64)}
    sys.stdout.write(json.dumps(results, indent=2) + "\n")


if __name__ == "__main__":
    main()
