"""`mypy --strict` understands programs that use the SDK."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

PROGRAM = Path(__file__).parent / "typed_program.py"


def test_results_and_arguments_are_inferred_and_mistakes_found(tmp_path: Path) -> None:
    config = tmp_path / "mypy.ini"
    config.write_text("[mypy]\nstrict = True\nplugins = inrush.mypy_plugin\n")
    command = [sys.executable, "-m", "mypy", "--config-file", str(config), "--cache-dir", str(tmp_path), str(PROGRAM)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=240)
    found = {int(line): code for line, code in re.findall(r":(\d+): error: .*\[(.+)\]", done.stdout)}
    expected = {
        number: code
        for number, line in enumerate(PROGRAM.read_text().splitlines(), 1)
        for code in re.findall(r"# expected: (.+)", line)
    }
    assert found == expected, done.stdout + done.stderr
