"""volstream: a live options pricer."""
