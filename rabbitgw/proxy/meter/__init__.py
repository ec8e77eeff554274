"""The meter: what an answer cost in tokens, read from its bytes as they pass. Sans-I/O.

    stream.py   StreamReader: one streamed answer          plain.py    PlainReader: one body
    alike.py    an event that is like an earlier one       delivered.py how much was delivered so far
    estimate.py what nobody stated                          dialects.py which reader reads which dialect
    reading.py  what a reader is; one file per dialect      numbers.py  numbers as providers state them
    shrink.py   a large JSON document made small while it passes

Knows no socket, no price and no store. The normal form of the result is rabbitgw.billing.usage.Usage.
"""

from rabbitgw.proxy.meter.dialects import DIALECTS
from rabbitgw.proxy.meter.estimate import (
    OutputSample,
    charged_usage,
    estimate_input_tokens,
    estimate_output_tokens,
    load_tokenizer,
)
from rabbitgw.proxy.meter.plain import PlainReader
from rabbitgw.proxy.meter.stream import StreamReader

__all__ = [
    "DIALECTS",
    "OutputSample",
    "PlainReader",
    "StreamReader",
    "charged_usage",
    "estimate_input_tokens",
    "estimate_output_tokens",
    "load_tokenizer",
]
