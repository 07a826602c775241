"""The mounted folders are collected once, as `pricer.surfaces` and `pricer.adapters`."""

collect_ignore = ["surfaces", "adapters"]
