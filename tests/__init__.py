"""All tests of the platform: unit (no server), integration (real servers as child processes), e2e, bench."""
