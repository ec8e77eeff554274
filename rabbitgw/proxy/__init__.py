"""The hot path: HTTP and bytes. Asks billing; never sees SQL, Lua text or a payment provider."""
