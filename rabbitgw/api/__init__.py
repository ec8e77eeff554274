"""Side routes on aiohttp: thin, over billing and payments."""
