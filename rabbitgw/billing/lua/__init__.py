"""The Redis scripts, one command per file. Loaded by rabbitgw/scripts.py and nowhere else."""
