"""Alerts: rules in the configuration, watched on every snapshot, told to the log, to clients and to webhooks.

language.py   a rule's text -> Rule; nothing is ever evaluated
metrics.py    the numbers that rules may name, as arrays
watch.py      raised and cleared, with hysteresis; sans-I/O
notices.py    many changes -> few lines, none lost without a count
webhooks.py   to addresses from the configuration
runner.py     the task at the edge
service.py    all of it as the sidecar runs it, from the settings
"""
