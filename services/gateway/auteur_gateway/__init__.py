"""The public API: generations over HTTP, live events to browsers, and the archive behind both."""
