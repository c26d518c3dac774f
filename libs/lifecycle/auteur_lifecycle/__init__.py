"""The life of a job as pure functions: resolve, gate, line, claim, status, retry, facts, expiry. No I/O, no clock."""
