"""Steps do what they say, in a real container each, on a real Debian or on the node's own /usr."""

from __future__ import annotations

import asyncio
import sys
import types

import cloudpickle
import pytest

from agent.images.imaging import UID, Images, pip, run, step, tar_of
from inrush.agent.images import host
from inrush.errors import ImageBuildError, InvalidError

pytestmark = pytest.mark.asyncio(loop_scope="session")

DEBIAN = "debian_slim"


async def test_the_host_image_has_the_servers_python_and_not_its_packages(shared: Images) -> None:
    image = await shared.build()
    assert await shared.python(image, "import sys, ssl, sqlite3; print('%d.%d' % sys.version_info[:2])") == host.VERSION
    found = await shared.python(
        image, "import importlib.util as u; print([u.find_spec(n) for n in ('pip', 'msgspec')])"
    )
    assert found == "[None, None]"


async def test_the_host_image_takes_packages(shared: Images) -> None:
    image = await shared.build(pip("six"))
    assert await shared.python(image, "import six; print(six.__file__)") == (
        f"{host.VENV}/lib/python{host.VERSION}/site-packages/six.py"
    )


async def test_the_host_image_says_why_apt_cannot_install_into_it(shared: Images) -> None:
    with pytest.raises(ImageBuildError, match=r"step 1/1 \(apt install hello\).*use Image\.debian_slim\(\)"):
        await shared.build(step("apt", packages=["hello"]))


async def test_debian_has_the_asked_for_python_and_pip(shared: Images) -> None:
    image = await shared.build(base=DEBIAN, python="3.11")
    assert image.python_version == "3.11"
    assert (await shared.run(image, "python", "--version")).startswith("Python 3.11.")
    assert "python 3.11" in await shared.run(image, "pip", "--version")
    assert "bookworm" in await shared.run(image, "cat", "/etc/os-release")


async def test_debian_is_whole_so_that_dpkg_finds_nothing_missing(shared: Images) -> None:
    image = await shared.build(base=DEBIAN, python="3.11")
    assert await shared.run(image, "dpkg", "--audit") == ""
    states = await shared.run(image, "dpkg-query", "--show", "--showformat", "${db:Status-Abbrev}\n")
    assert {line.strip() for line in states.splitlines()} == {"ii"}
    assert await shared.run(image, "getent", "passwd", "_apt", "nobody") != ""


async def test_packages_of_debian_are_installed_and_leave_no_lists_behind(shared: Images) -> None:
    image = await shared.build(step("apt", packages=["hello"]), base=DEBIAN, python="3.11")
    assert await shared.run(image, "hello") == "Hello, world!\n"
    assert await shared.run(image, "find", "/var/lib/apt/lists", "/var/cache/apt", "-type", "f") == ""
    assert "build" not in await shared.run(image, "ls", "/opt/inrush")


async def test_two_apt_steps_of_one_app_at_once_wait_for_each_other(shared: Images) -> None:
    first, second = await asyncio.gather(
        shared.build(step("apt", packages=["sl"]), base=DEBIAN, python="3.11", said=[]),
        shared.build(step("apt", packages=["cowsay"]), base=DEBIAN, python="3.11", said=[]),
    )
    assert await shared.run(first, "test", "-x", "/usr/games/sl") == ""
    assert await shared.run(second, "test", "-x", "/usr/games/cowsay") == ""


async def test_packages_of_python_are_installed_and_compiled(shared: Images) -> None:
    image = await shared.build(pip("six==1.16.0"), base=DEBIAN, python="3.11")
    code = "import six, os; print(six.__version__, os.path.exists(six.__cached__))"
    assert await shared.python(image, code) == "1.16.0 True"


async def test_options_that_only_pip_knows_lead_to_pip(shared: Images) -> None:
    for base in ("host", DEBIAN):
        image = await shared.build(pip("six==1.15.0", extra_options="--use-pep517 --no-deps"), base=base)
        assert await shared.python(image, "import six; print(six.__version__)") == "1.15.0"
        assert any(line.startswith("Successfully installed six") for line in shared.lines())


async def test_requirements_files_are_read(shared: Images) -> None:
    blob = shared.blobs.put(b"six==1.14.0\n")
    image = await shared.build(step("pip", files=[("requirements.txt", blob)]))
    assert await shared.python(image, "import six; print(six.__version__)") == "1.14.0"


async def test_downloads_of_one_build_serve_the_next(shared: Images) -> None:
    await shared.build(pip("idna==3.7"))
    image = await shared.build(run("true"), pip("idna==3.7", uv=True, extra_options="--offline"), uid=UID + 65536)
    assert await shared.python(image, "import idna; print(idna.__version__)") == "3.7"


async def test_packages_of_debian_are_downloaded_once(shared: Images) -> None:
    await shared.build(step("apt", packages=["figlet"]), base=DEBIAN, python="3.11")
    await shared.build(run("echo again"), step("apt", packages=["figlet"]), base=DEBIAN, python="3.11")
    assert any("Need to get 0 B/" in line for line in shared.lines())


async def test_commands_see_what_earlier_steps_made_their_directory_and_their_variables(shared: Images) -> None:
    image = await shared.build(
        run("mkdir /data", "echo one > /data/a"),
        step("env", variables={"GREETING": "hello"}),
        step("workdir", path="/data"),
        run('echo "$GREETING $(cat a) $(pwd)" > b'),
    )
    assert await shared.run(image, "cat", "b") == "hello one /data\n"
    assert image.env["GREETING"] == "hello"
    assert image.workdir == "/data"


async def test_a_script_stops_at_its_first_failing_command(shared: Images) -> None:
    with pytest.raises(ImageBuildError, match="status 1"):
        await shared.build(run("false", "true"))


async def test_a_build_reaches_the_network_and_has_an_empty_tmp(shared: Images) -> None:
    await shared.build(
        run("ls -A /tmp > /tmp.list", "grep -q nameserver /etc/resolv.conf", "ls -d /sys/class/net/* | wc -l")
    )
    assert int(shared.lines()[-1]) >= 2


async def test_a_secret_is_there_for_the_step_that_names_it_and_nowhere_else(shared: Images) -> None:
    image = await shared.build(
        run('printf %s "${TOKEN:-none}" > /with', secrets=["TOKEN"], key="of its value"),
        run('printf %s "${TOKEN:-none}" > /without'),
        env={"TOKEN": "secret-value", "OTHER": "never"},
    )
    assert await shared.run(image, "cat", "/with", "/without") == "secret-valuenone"
    assert "TOKEN" not in image.env


async def test_a_function_is_run_by_the_images_python_with_its_arguments(shared: Images) -> None:
    def write(path: str, *, times: int) -> None:
        import pathlib
        import sys

        pathlib.Path(path).write_text(f"{sys.version_info[1]}" * times)

    blob = shared.blobs.put(cloudpickle.dumps((_by_value(write), ("/made",), {"times": 2})))
    image = await shared.build(step("function", name="write", files=[("function", blob)]))
    minor = host.VERSION.partition(".")[2]
    assert await shared.run(image, "cat", "/made") == minor * 2
    assert "/opt/inrush/lib" not in await shared.run(image, "ls", "/opt/inrush/lib")


async def test_a_function_finds_the_modules_of_its_source_which_stay_out_of_the_image(shared: Images) -> None:
    source = shared.blobs.put(tar_of({"root/helper_of_mine.py": b"def go():\n    open('/gone', 'w').write('went')\n"}))
    module = types.ModuleType("helper_of_mine")
    exec("def go(): ...", module.__dict__)  # only its name goes along
    sys.modules["helper_of_mine"] = module
    try:
        blob = shared.blobs.put(cloudpickle.dumps((module.go, (), {})))
    finally:
        del sys.modules["helper_of_mine"]
    image = await shared.build(step("function", name="go", files=[("function", blob), ("source", source)]))
    assert await shared.run(image, "cat", "/gone") == "went"
    assert await shared.run(image, "ls", "/root") == ""


async def test_a_function_that_raises_fails_its_step_with_its_traceback(shared: Images) -> None:
    def explode() -> None:
        raise ValueError("no model here")

    blob = shared.blobs.put(cloudpickle.dumps((_by_value(explode), (), {})))
    with pytest.raises(ImageBuildError, match=r"step 1/1 \(run function explode\).*(?s:.*)ValueError: no model here"):
        await shared.build(step("function", name="explode", files=[("function", blob)]))


async def test_a_function_is_stopped_after_its_time(shared: Images) -> None:
    def sleep() -> None:
        import time

        time.sleep(600)

    blob = shared.blobs.put(cloudpickle.dumps((_by_value(sleep), (), {})))
    with pytest.raises(ImageBuildError, match="it ran longer than 1 s"):
        await shared.build(step("function", name="sleep", timeout_s=1, files=[("function", blob)]))


async def test_copied_files_are_in_the_image_and_later_ones_win(shared: Images) -> None:
    one = shared.blobs.put(tar_of({"root/data/a.txt": b"one", "root/data/b.txt": b"one"}))
    two = shared.blobs.put(tar_of({"root/data/b.txt": b"two"}))
    image = await shared.build(step("copy", files=[("data", one), ("more", two)]))
    assert await shared.run(image, "cat", "/root/data/a.txt", "/root/data/b.txt") == "onetwo"


async def test_a_file_copied_into_bin_hides_none_of_the_images_programs(shared: Images) -> None:
    blob = shared.blobs.put(tar_of({"bin/mine": b"#!/bin/sh\necho mine\n", "var/tmp/x": b""}, mode=0o755))
    image = await shared.build(step("copy", files=[("mine", blob)]), base=DEBIAN, python="3.11")
    assert await shared.run(image, "/bin/sh", "-c", "mine; stat -c %a /var/tmp") == "mine\n1777\n"


async def test_a_file_copied_below_a_link_of_the_image_is_where_the_link_leads(shared: Images) -> None:
    blob = shared.blobs.put(tar_of({"opt/l/u": b"u"}))
    below = run("mkdir /big", "echo f > /big/f", "ln -s /big /opt/l")
    image = await shared.build(below, step("copy", files=[("u", blob)]))
    assert await shared.run(image, "/bin/sh", "-c", "ls /big; readlink /opt/l") == "f\nu\n/big\n"


async def test_a_file_that_nobody_would_see_is_refused(shared: Images) -> None:
    for hidden in ("tmp/x", "usr/x"):
        blob = shared.blobs.put(tar_of({hidden: b""}))
        with pytest.raises(InvalidError, match="nothing can be added"):
            await shared.build(step("copy", files=[("x", blob)]))


async def test_setuid_files_and_owners_survive_into_the_layer(shared: Images) -> None:
    image = await shared.build(
        run("cp /bin/true /suid", "chown 5:6 /suid", "chmod 4755 /suid"), base=DEBIAN, python="3.11"
    )
    assert await shared.run(image, "stat", "-c", "%u %g %a", "/suid") == "5 6 4755\n"


async def test_what_a_step_deletes_is_gone_above_it(shared: Images) -> None:
    image = await shared.build(run("mkdir /d", "echo 1 > /d/a", "echo 1 > /d/b"), run("rm /d/a", "rm -rf /d/b"))
    assert await shared.run(image, "ls", "/d") == ""


@pytest.mark.parametrize("base", ["host", DEBIAN])
async def test_the_packages_of_the_platform_are_there_for_the_python_of_an_image(shared: Images, base: str) -> None:
    image = await shared.build(base=base)
    layers = await shared.store.runtime(image)
    code = (
        "import sys; sys.path[:0] = ['/opt/inrush/lib']; sys.path += ['/opt/inrush/deps'];"
        "import os, inrush.wire, msgspec, cloudpickle;"
        "print([os.path.exists(m.__cached__) for m in (inrush.wire, msgspec, cloudpickle)], end=' ');"
        "print(os.listdir(inrush.__path__[0]))"
    )
    said = await shared.python(image, code, above=layers)
    assert said.startswith("[True, True, True]")
    assert "'server'" not in said
    assert await shared.store.runtime(image) == layers


async def test_a_python_that_the_base_does_not_have_is_an_error_that_names_those_it_has(shared: Images) -> None:
    with pytest.raises(InvalidError, match=r"Image\.host\(\) has the server's Python.*3\.11 and 3\.13 from Debian"):
        await shared.build(python="3.99")
    with pytest.raises(InvalidError, match=r"need Python 3\.11 or later, not 3\.9"):
        await shared.build(base=DEBIAN, python="3.9")
    with pytest.raises(InvalidError, match=r"is like '3\.11', not 'three'"):
        await shared.build(base=DEBIAN, python="three")
    with pytest.raises(InvalidError, match="no base image is called 'alpine'"):
        await shared.build(base="alpine")


async def test_a_python_that_nobody_has_is_an_error_that_names_both_ways(shared: Images) -> None:
    with pytest.raises(ImageBuildError, match=r"Python 3\.99 cannot be had.*3\.11 and 3\.13 from Debian.*Image\.host"):
        await shared.build(base=DEBIAN, python="3.99")


@pytest.mark.slow
async def test_another_release_of_debian_has_another_python_with_packages_of_its_own(shared: Images) -> None:
    image = await shared.build(pip("msgspec"), step("apt", packages=["hello"]), base=DEBIAN, python="3.13")
    assert image.python_version == "3.13"
    assert "trixie" in await shared.run(image, "cat", "/etc/os-release")
    assert await shared.run(image, "hello") == "Hello, world!\n"
    assert await shared.run(image, "dpkg", "--audit") == ""
    layers = await shared.store.runtime(image)
    code = (
        "import sys; sys.path[:0] = ['/opt/inrush/lib', '/opt/inrush/deps'];"
        "import inrush.wire, msgspec, cloudpickle, os;"
        "print(sys.version_info[1], msgspec.__file__, os.path.exists(inrush.wire.__cached__))"
    )
    said = await shared.python(image, code, above=layers)
    assert said == "13 /opt/inrush/deps/msgspec/__init__.py True"


def _by_value(function: object) -> object:
    """As if it were of the user's program, which is no module of the image."""
    function.__module__ = "__main__"  # type: ignore[attr-defined]
    return function
