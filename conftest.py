"""The mounted folders are collected once, as `pricer.surfaces` and `pricer.adapters`."""

from hypothesis import HealthCheck, settings

collect_ignore = ["surfaces", "adapters"]

# How fast examples come is the machine's affair, which may be busy: a test that hangs has its own limit.
settings.register_profile("any machine", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("any machine")
