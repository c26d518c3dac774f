"""`python -m auteur_gateway`: the public API of Auteur."""

import gc
import sys

from auteur_contracts.errors import AuteurError
from auteur_gateway.app import build, end_streams
from auteur_gateway.settings import Settings
from auteur_kit import logs, telemetry
from auteur_kit.settings import read_settings
from auteur_web.server import make_server


def main() -> int:
    try:
        settings = read_settings(Settings)
        logs.configure(settings.log, service="gateway")
        send_spans = telemetry.configure(settings.telemetry, service="gateway")
        app = build(settings)
    except AuteurError as error:
        sys.stderr.write(f"error: {error.message}\n")
        return 2
    gc.freeze()  # what was imported stays: no collection need walk it
    server = make_server(app, settings.gateway, lambda: end_streams(app))
    server.run()
    send_spans()
    return 0 if server.started else 1


if __name__ == "__main__":
    sys.exit(main())
