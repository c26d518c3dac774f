"""`python -m auteur_standalone`: the supervisor, as `auteur up` starts it."""

import argparse
import asyncio
import os
import sys

from auteur_contracts.errors import AuteurError
from auteur_kit import logs
from auteur_kit.logs import get_logger
from auteur_kit.settings import read_settings
from auteur_standalone import layout, processes
from auteur_standalone.exit_codes import REFUSED, SupervisorExit
from auteur_standalone.servers import BinaryMissing
from auteur_standalone.settings import Settings
from auteur_standalone.supervisor import prepare, supervise


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m auteur_standalone", description=__doc__)
    parser.add_argument("--port", type=int, help="of the gateway; kept")
    parser.add_argument("--services", action="store_true", help="without the gateway and the runners' workers")
    arguments = parser.parse_args()
    try:
        wanted = read_settings(Settings)
    except AuteurError as error:
        return _refuse(error.message)
    logs.configure(wanted.log, service="supervisor")
    here = layout.here()
    try:
        here.make()
        lock = processes.lock(here.lock)
    except processes.AlreadyLocked:
        return SupervisorExit.ALREADY_RUNS
    except OSError as error:
        return _refuse(f"the data folder {here.root} cannot be used: {error}")
    with lock:
        try:
            prepared = prepare(here, wanted, os.environ, arguments.port)
            asyncio.run(supervise(prepared, services_only=arguments.services))
        except BinaryMissing as error:
            return _refuse(str(error))
        except AuteurError as error:
            hint = error.details.get("hint", "")
            return _refuse(f"{error.message}\t{hint}" if hint else error.message)
        except OSError as error:
            get_logger().exception("supervisor failed")
            return _refuse(f"the data folder {here.root} cannot be used: {error}")
    return SupervisorExit.STOPPED


def _refuse(why: str) -> int:
    sys.stderr.write(f"{REFUSED}{' '.join(why.splitlines())}\n")
    return SupervisorExit.REFUSED


if __name__ == "__main__":
    sys.exit(main())
