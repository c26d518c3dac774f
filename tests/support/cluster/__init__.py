"""A Kubernetes for tests: where its programs are, its certificates, its control plane, and nodes that are played."""
