"""What every HTTP service of ours shares: server, access, request ids, errors, strict JSON, event streams."""
