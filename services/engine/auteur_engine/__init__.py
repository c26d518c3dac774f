"""The control plane of one machine: over a table of resources in SQLite, and the agents that the supervisor starts."""
