"""The outside world, once: bus (NATS), store (S3), settings, logs, clock. Knows no job's rules."""
