"""What the operator costs a cluster and its users, on a real control plane with played nodes: `make bench-cluster`."""
