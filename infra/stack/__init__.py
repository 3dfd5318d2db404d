"""The team server as processes: `python -m infra.stack`."""
