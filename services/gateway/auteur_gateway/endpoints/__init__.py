"""HTTP, sockets and event streams: thin, each file one group of addresses."""
