"""One server per venue protocol."""
