"""rabbitgw: an LLM reseller's gateway. docs/ARCHITECTURE.md shows the house."""

__version__ = "0.1.0"
