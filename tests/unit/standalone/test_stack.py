"""The programs of the stack as data, and runners as files."""

from pathlib import Path

import pytest

from auteur_contracts.resources import (
    FunctionDeclaration,
    FunctionRunner,
    FunctionRunnerSpec,
    ObjectMeta,
    TierDeclaration,
)
from auteur_contracts.vocabulary import Quality
from auteur_standalone import registration, stack
from auteur_standalone.discovery import Found, environments, register_found
from auteur_standalone.layout import Layout
from auteur_standalone.registration import Launch, Origin, Registered, Unreadable
from auteur_standalone.settings import External, ExternalStore, GatewayPlace, Settings, StandaloneSettings
from auteur_standalone.stack import Change, Machine
from tests.unit.standalone.test_environment import CONFIG, LAYOUT, OWN

MACHINE = Machine(CONFIG, LAYOUT, OWN, {"PATH": "/bin"})
FLIP = Launch("/envs/flip/bin/python", "flip:Flip", Path("/work/flip"))


def described(name: str = "flip", workers: int = 1) -> FunctionRunner:
    return FunctionRunner(
        metadata=ObjectMeta(name=name),
        spec=FunctionRunnerSpec(
            functions=(FunctionDeclaration(name=name, params_schema={"type": "object"}),),
            tiers=(TierDeclaration(quality=Quality.STANDARD, pipeline="none"),),
            workers=workers,
        ),
    )


def added(name: str = "flip", workers: int | None = None, launch: Launch = FLIP) -> Registered:
    return registration.registered(described(name), launch, Origin.ADDED, workers=workers)


def found(name: str, python: str = "/envs/flip/bin/python") -> Registered:
    return registration.registered(described(name), Launch(python, name), Origin.FOUND)


def test_what_is_registered_is_read_back_and_written_once(tmp_path: Path) -> None:
    layout = Layout(tmp_path / "home")
    layout.make()
    assert registration.write(layout, added(workers=2))
    assert not registration.write(layout, added(workers=2)), "nobody is woken by a write that changes nothing"
    assert registration.read_all(layout) == ([added(workers=2)], [])
    assert added(workers=2).runner.spec.command == (FLIP.python, "-m", "auteur_runner", "child", "flip:Flip")


def test_a_file_that_cannot_be_read_hides_no_other(tmp_path: Path) -> None:
    layout = Layout(tmp_path)
    layout.make()
    registration.write(layout, added())
    layout.runner("broken").write_text("{")
    layout.runner("foreign").write_text(described("foreign").model_dump_json())
    entries, unreadable = registration.read_all(layout)
    assert entries == [added()]
    assert [one.name for one in unreadable] == ["broken", "foreign"]
    assert "register it anew" in unreadable[1].why


def test_every_worker_of_a_runner_is_a_part() -> None:
    agents = stack.agents(MACHINE, [added("one"), added("many", workers=3)])
    assert list(agents) == ["runner-one", "runner-many-1", "runner-many-2", "runner-many-3"]
    argv = agents["runner-one"].argv
    assert argv[1:4] == ("-m", "auteur_runner", "agent")
    assert dict(zip(argv[4::2], argv[5::2], strict=True)) == {
        "--runner": "one",
        "--python": "/envs/flip/bin/python",
        "--target": "flip:Flip",
        "--scratch": "/home/a/.auteur/run/scratch/runner-one",
        "--directory": "/work/flip",
    }


def test_a_changed_folder_of_runners_changes_only_what_changed() -> None:
    before = stack.agents(MACHINE, [added("kept"), added("gone"), added("changed")])
    elsewhere = Launch("/other/python", "flip:Flip")
    after = stack.agents(MACHINE, [added("kept"), added("new"), added("changed", launch=elsewhere)])
    change = stack.change(before, after)
    assert change.stop == {"runner-gone", "runner-changed"}
    assert [part.name for part in change.start] == ["runner-new", "runner-changed"]
    assert stack.change(after, after) == Change(frozenset(), ())


def test_a_runner_that_is_registered_again_gets_new_workers_though_its_description_is_the_same() -> None:
    """Its code may be another."""
    first, again = (
        registration.registered(described(), FLIP, Origin.ADDED, at=f"2026-11-21T12:00:0{second}Z") for second in (0, 1)
    )
    before, after = (stack.agents(MACHINE, [entry]) for entry in (first, again))
    change = stack.change(before, after)
    assert (change.stop, [part.name for part in change.start]) == (frozenset({"runner-flip"}), ["runner-flip"])
    assert stack.change(before, stack.agents(MACHINE, [first])) == Change(frozenset(), ())


@pytest.mark.parametrize(
    ("host", "url"),
    [
        ("127.0.0.1", "http://127.0.0.1:8000"),
        ("0.0.0.0", "http://127.0.0.1:8000"),  # noqa: S104  # nothing listens
        ("::", "http://127.0.0.1:8000"),
        ("192.168.1.5", "http://192.168.1.5:8000"),
        ("studio.local", "http://studio.local:8000"),
        ("fd00::5", "http://[fd00::5]:8000"),
    ],
)
def test_the_url_is_where_the_gateway_listens(host: str, url: str) -> None:
    settings = OWN.model_copy(update={"gateway": GatewayPlace(host=host)})
    machine = Machine(CONFIG, LAYOUT, settings, {})
    assert machine.url == url
    assert stack.programs(machine)[0].address == url


def test_parts_stop_within_ten_seconds_altogether() -> None:
    total = sum(max(stack.GRACE[kind] for kind in kinds) for kinds in stack.STOP_ORDER)
    assert total < 10
    assert {kind for kinds in stack.STOP_ORDER for kind in kinds} == set(stack.GRACE)


def test_servers_of_somebody_else_are_no_parts() -> None:
    both = stack.backing_services(MACHINE, Path("/bin/nats-server"), Path("/bin/weed"))
    assert [part.name for part in both] == ["nats", "store"]
    assert stack.backing_services(MACHINE, None, None) == ()


def test_somebody_elses_servers_are_shown_without_their_passwords() -> None:
    settings = Settings.model_construct(
        nats=External(url="nats://ada:p@ss@bus:4222"), store=ExternalStore(url="https://s3.example:443")
    )
    assert [part.address for part in stack.external(settings)] == ["nats://bus:4222", "https://s3.example:443"]
    assert stack.external(OWN) == ()


def names(layout: Layout) -> list[str]:
    return sorted(path.stem for path in layout.runners.iterdir())


def test_what_is_found_is_registered_and_forgotten_when_it_is_gone(tmp_path: Path) -> None:
    layout = Layout(tmp_path)
    layout.make()
    registration.write(layout, added("mine"))
    register_found(layout, Found((found("a"), found("b"), found("mine")), ()))
    assert names(layout) == ["a", "b", "mine"]
    assert registration.parse(layout.runner("mine").read_bytes()) == added("mine"), "a person's word stays"
    register_found(layout, Found((found("a"),), ()))
    assert names(layout) == ["a", "mine"]


def test_an_environment_that_does_not_answer_loses_nothing_that_may_still_be_there(tmp_path: Path) -> None:
    layout = Layout(tmp_path)
    layout.make()
    python = tmp_path / "python"
    python.touch()
    register_found(layout, Found((found("here", str(python)), found("removed")), ()))
    register_found(layout, Found((), (Unreadable("envs", "it crashed"),)))
    assert names(layout) == ["here"], "the python of the other is not there any more"


def test_in_a_checkout_the_environments_of_its_runners_are_looked_into(tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").write_text('[project]\nname = "auteur"\n')
    for name in ("made", "not-made"):
        (tmp_path / "images" / "runners" / name).mkdir(parents=True)
        (tmp_path / "images" / "runners" / name / "pyproject.toml").touch()
    layout = Layout(tmp_path / ".auteur")
    python = layout.environments / "made" / "bin" / "python"
    python.parent.mkdir(parents=True)
    python.touch()
    settings = Settings.model_construct(standalone=StandaloneSettings())
    assert environments(settings, layout)[1:] == (str(python),)
    assert len(environments(settings, Layout(tmp_path / "elsewhere" / "data"))) == 1


@pytest.mark.parametrize(("workers", "expected"), [(1, ("a",)), (2, ("a-1", "a-2"))])
def test_one_worker_goes_by_its_runners_name(workers: int, expected: tuple[str, ...]) -> None:
    assert stack.agent_names("a", workers) == expected
