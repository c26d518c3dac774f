"""The process that serves a pool's orders: it owns NATS, claims, heartbeats, deadlines and uploads.

The function runs in a child process of its own environment; nothing of it is imported here.
"""
