"""`rabbitgw dev`: embedded PostgreSQL and Redis, a demo upstream, a first account. Also what the tests start."""
