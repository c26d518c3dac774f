"""The gateway on real NATS, S3 and databases."""
