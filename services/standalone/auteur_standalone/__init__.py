"""The whole platform on one machine: one supervisor over nats-server, an S3 server, gateway, engine and runners."""
