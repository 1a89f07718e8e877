"""Traces: what policies of scaling are compared on. Each is traffic, how long an input and a start take, and how many
inputs a container runs at once. `catalog.py` has those that come along.

`azure_llm_2023.csv` holds the first twenty minutes of the conversation trace of the Azure Public Dataset
(AzureLLMInferenceTrace_conv, 2023-11-16), times made relative, used under CC-BY 4.0; cite Patel et al., "Splitwise",
ISCA 2024.
"""

from inrush.sim.traces.catalog import COMPUTING, TRACES
from inrush.sim.traces.trace import Request, Trace

__all__ = ["COMPUTING", "TRACES", "Request", "Trace"]
