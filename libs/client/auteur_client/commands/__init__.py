"""The verbs of `auteur`: words, options and help texts only. Each imports what it does when it runs, because all of
httpx, pydantic and Rich is half a second that `auteur --help` need not wait for."""
