"""Selling credit: the provider contract and its implementations (a later issue fills this room)."""
