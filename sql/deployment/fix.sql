-- Fix the number of partitions and begin epoch 1, once in a database's life.
-- $1 partitions integer
INSERT INTO deployment (partitions, epoch) VALUES ($1, 1) ON CONFLICT DO NOTHING
