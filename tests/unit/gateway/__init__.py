"""Unit tests of the gateway: its pure parts."""
