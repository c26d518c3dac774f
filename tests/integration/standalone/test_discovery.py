"""Runners are found in an environment by asking its own Python, once for all of them."""

import os
import sys
from pathlib import Path

import pytest

from auteur_standalone import discovery
from auteur_standalone.registration import Unreadable
from tests.support.stack import CHECKOUT


async def test_one_runners_fault_is_not_its_neighbours(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = tmp_path / "two_runners-1.dist-info"
    package.mkdir()
    (package / "METADATA").write_text("Metadata-Version: 2.1\nName: two-runners\nVersion: 1\n")
    (package / "entry_points.txt").write_text("[auteur.runners]\necho = tests.support.echo:Echo\nloud = loud:Loud\n")
    (tmp_path / "loud.py").write_text("print('importing')\nraise RuntimeError('no\\nluck')\n")
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join((str(tmp_path), str(CHECKOUT))))

    found = await discovery.discover([sys.executable])

    assert [entry.name for entry in found.entries] == ["echo"]
    assert found.failed == (Unreadable("loud", "RuntimeError: no luck"),)
