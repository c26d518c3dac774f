"""The typed HTTP client and the `auteur` command line. `client.Client` is the library, `cli.main` the program.
Nothing is imported here, so that `auteur --help` stays fast."""
