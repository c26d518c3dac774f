"""Tests on a real Kubernetes: its control plane with nodes that are played, and a real node."""
