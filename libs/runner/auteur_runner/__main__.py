"""`python -m auteur_runner …`: what the platform calls. All but `agent` need pydantic only."""

import argparse
import contextlib
import sys

from auteur_runner.errors import AuthoringError


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m auteur_runner")
    commands = parser.add_subparsers(dest="command", required=True)
    describing = commands.add_parser("describe", help="print a runner as FunctionRunner JSON")
    describing.add_argument("target", help="module:Class, module:runner, file.py or an installed runner's name")
    installed = commands.add_parser("installed", help="print the installed runners, a name and a target each line")
    installed.add_argument("--describe", action="store_true", help="and what each offers, as FunctionRunner JSON")
    child = commands.add_parser("child", help="serve an agent (started by it)")
    child.add_argument("target")
    child.add_argument("--fd", type=int, required=True)
    child.add_argument("--parent", type=int, required=True)
    commands.add_parser("agent", help="serve a pool's orders", add_help=False)
    arguments, rest = parser.parse_known_args()
    match arguments.command:
        case "describe":
            return _describe(arguments.target)
        case "installed":
            return _installed(describing=arguments.describe)
        case "child":
            from auteur_runner.child import main as serve  # noqa: PLC0415 -- each command loads what it needs

            serve(arguments.target, arguments.fd, arguments.parent)
            return 0
        case _:
            try:
                from auteur_runner.agent.program import main as agent  # noqa: PLC0415 -- not in a runner's base
            except ModuleNotFoundError as error:
                sys.stderr.write(f"error: the agent needs {error.name}: install auteur[agent]\n")
                return 2
            return agent(rest)


def _describe(target: str) -> int:
    from auteur_runner.describe import describe  # noqa: PLC0415 -- as above
    from auteur_runner.loading import load  # noqa: PLC0415 -- as above

    try:
        described = describe(load(target))
    except AuthoringError as error:
        sys.stderr.write(f"error: {error}\n")
        return 2
    sys.stdout.write(f"{described.model_dump_json(indent=2, exclude={'status'}, exclude_none=True)}\n")
    return 0


def _installed(*, describing: bool) -> int:
    from auteur_runner.loading import discover  # noqa: PLC0415 -- as above

    for name, target in sorted(discover().items()):
        words = (name, target, _description(target)) if describing else (name, target)
        sys.stdout.write(f"{' '.join(words)}\n")
    return 0


def _description(target: str) -> str:
    """A line of JSON, or `error: ` and why there is none. One runner's fault is not its neighbours'."""
    from auteur_runner.describe import describe  # noqa: PLC0415 -- as above
    from auteur_runner.loading import load  # noqa: PLC0415 -- as above

    try:
        with contextlib.redirect_stdout(sys.stderr):  # an author's module may print what it likes
            described = describe(load(target))
    except AuthoringError as error:
        return f"error: {error}"
    except Exception as error:  # noqa: BLE001 -- the author's module may raise anything
        return f"error: {type(error).__name__}: {' '.join(str(error).split())}"
    return described.model_dump_json(exclude={"status"}, exclude_none=True)


if __name__ == "__main__":
    sys.exit(main())
