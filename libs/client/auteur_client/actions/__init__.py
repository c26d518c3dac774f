"""What the commands do: the client, the pure parts and the terminal put together. Imported when a command runs."""
