"""The embedded market: a seeded market behind servers that speak venues' real wire formats."""
