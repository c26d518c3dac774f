"""The public API's shapes: snake_case JSON over HTTP and sockets. Gateway and client meet here."""
