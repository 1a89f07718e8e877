"""An ordinary user's server, end to end: an image with a package from the network is built, a function runs in it."""

from __future__ import annotations

import json
import os
import shutil
import site
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

import inrush
from launcher.launched import needs_root

pytestmark = needs_root

USER = 65534

_NODE = """
import atexit, json, os, subprocess, sys
user, wheels, environ, command = int(sys.argv[1]), sys.argv[2], json.loads(sys.argv[3]), sys.argv[4:]
INDEX = '''
import http.server, os, subprocess, sys
print("made", flush=True); sys.stdin.readline()
for words in ("link set lo up", "link set inside up", "addr add 198.18.91.2/24 dev inside"):
    subprocess.run(["ip", *words.split()], check=True)
os.chdir(sys.argv[1])
server = http.server.ThreadingHTTPServer(("0.0.0.0", 80), http.server.SimpleHTTPRequestHandler)
print("up", flush=True)
server.serve_forever()
'''

def ip(words):
    subprocess.run(["ip", *words.split()], check=True)

index = subprocess.Popen(["unshare", "-n", sys.executable, "-c", INDEX, wheels], stdin=subprocess.PIPE,
                         stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
atexit.register(index.kill)
assert index.stdout.readline() == "made\\n"
ip("link set lo up")
ip(f"link add wheels type veth peer name inside netns {index.pid}")
ip("address add 198.18.91.1/24 dev wheels")
ip("link set wheels up")
index.stdin.write("go\\n")
index.stdin.flush()
assert index.stdout.readline() == "up\\n"
ip("route add default via 198.18.91.2")
become = ["setpriv", f"--reuid={user}", f"--regid={user}", "--clear-groups"]

def run(*words):
    return subprocess.run([*become, *command, *words], env=environ, cwd="/", timeout=120)

done = run("run", os.path.join(environ["HOME"], "program.py"))
run("server", "stop", "-y")
sys.exit(done.returncode)
"""

_PROGRAM = """
import inrush

app = inrush.App("rootless")
image = inrush.Image.host().pip_install("tiny", find_links="http://198.18.91.2/", extra_options="--no-index")

@app.function(image=image)
def told():
    import os
    import tiny
    return tiny.WORD, os.getuid()

@app.function(image=image)
@inrush.asgi_app()
def web():
    async def served(scope, receive, send):
        if scope["type"] == "http":
            await send({"type": "http.response.start", "status": 200, "headers": []})
            await send({"type": "http.response.body", "body": b"from inside"})
    return served

@app.function(image=image)
def ask():
    import urllib.request
    return urllib.request.urlopen(web.get_web_url(), timeout=30).read()

@app.local_entrypoint()
def main():
    print("told", told.remote(), ask.remote())
"""


def _wheel(directory: Path) -> None:
    """A package of one line, as a package index has it."""
    directory.mkdir()
    about = {
        "METADATA": "Metadata-Version: 2.1\nName: tiny\nVersion: 1.0\n",
        "WHEEL": "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        "RECORD": "tiny.py,,\n" + "".join(f"tiny-1.0.dist-info/{name},,\n" for name in ("METADATA", "WHEEL", "RECORD")),
    }
    with zipfile.ZipFile(directory / "tiny-1.0-py3-none-any.whl", "w") as wheel:
        wheel.writestr("tiny.py", "WORD = 'from the network'\n")
        for name, text in about.items():
            wheel.writestr(f"tiny-1.0.dist-info/{name}", text)


def _run(home: Path, program: str, ids: str) -> subprocess.CompletedProcess[str]:
    """`inrush run` of a program by the user, on a node that has a package index outside."""
    python = f"/usr/bin/python3.{sys.version_info.minor}"
    if not os.access(python, os.X_OK):
        pytest.skip(f"there is no {python}, which ordinary users may execute")
    if not (shutil.which("pasta") or shutil.which("slirp4netns")) or not shutil.which("newuidmap"):
        pytest.skip("neither pasta nor slirp4netns, or no newuidmap")
    _wheel(home / "wheels")
    (home / "program.py").write_text(program)
    (home / "ids").write_text(ids)
    subprocess.run(["chown", "-R", f"{USER}:{USER}", home], check=True)
    source, packages = Path(inrush.__file__).parent.parent, site.getsitepackages()
    environ = {
        "HOME": str(home),
        "INRUSH_HOME": str(home / "h"),
        "PATH": "/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin",
        "PYTHONPATH": ":".join(map(str, [source, *packages])),
    }
    before = [
        *(f"mount --bind {home / 'ids'} /etc/{name}" for name in ("subuid", "subgid")),
        "mount -t tmpfs none /dev/net",
        "mknod -m 666 /dev/net/tun c 10 200",
        'exec "$@"',
    ]
    node = [sys.executable, "-c", _NODE, str(USER), str(home / "wheels"), json.dumps(environ), python, "-m", "inrush"]
    command = ["unshare", "-n", "-m", "sh", "-e", "-c", "\n".join(before), "sh", *node]
    return subprocess.run(command, capture_output=True, text=True, timeout=200)


def test_an_ordinary_user_builds_an_image_with_a_package_and_runs_a_function_in_it(home: Path) -> None:
    done = _run(home, _PROGRAM, f"{USER}:1000000:65536\n")
    log = home / "h" / "server.log"
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}\n{log.read_text() if log.exists() else ''}"
    assert "told ('from the network', 0) b'from inside'" in done.stdout


def test_a_build_that_fails_for_want_of_user_ids_says_what_to_install(home: Path) -> None:
    install = next(line for line in _PROGRAM.splitlines() if "pip_install" in line)
    program = _PROGRAM.replace(install, 'image = inrush.Image.host().run_commands("touch /opt/x && chown 5:5 /opt/x")')
    done = _run(home, program, "")
    assert done.returncode == 1
    assert "apt-get install uidmap" in done.stderr + done.stdout
