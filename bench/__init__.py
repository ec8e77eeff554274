"""What the gateway costs and how fast it is, beside its peers, in one run. docs/BENCH.md says how it is measured."""
