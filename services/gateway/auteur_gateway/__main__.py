"""`python -m auteur_gateway`: the public API of Auteur."""

import sys

from pydantic import ValidationError
from pydantic_settings import SettingsError

from auteur_contracts.errors import AuteurError
from auteur_gateway.app import build
from auteur_gateway.server import make_server
from auteur_gateway.settings import Settings
from auteur_kit import logs


def main() -> int:
    try:
        settings = Settings()
        logs.configure(settings.log, service="gateway")
        app = build(settings)
    except ValidationError as error:
        first = error.errors(include_input=False)[0]
        name = "__".join(str(part).upper() for part in first["loc"])
        sys.stderr.write(f"error: setting AUTEUR_{name}: {first['msg'].removeprefix('Value error, ')}\n")
        return 2
    except SettingsError as error:
        sys.stderr.write(f"error: {error}; write settings one by one: AUTEUR_GATEWAY__PORT=8000\n")
        return 2
    except AuteurError as error:
        sys.stderr.write(f"error: {error.message}\n")
        return 2
    server = make_server(app, settings.gateway)
    server.run()
    return 0 if server.started else 1


if __name__ == "__main__":
    sys.exit(main())
