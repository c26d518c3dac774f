"""Where weights may come from, and what is refused before torch reads a byte of them."""

import hashlib
import json
import shutil
from pathlib import Path

import pytest

from auteur_diffusion import sources
from auteur_diffusion.settings import Settings
from auteur_diffusion.sources import Source, check, find
from auteur_runner import PlatformError


def test_a_pipeline_is_a_configured_folder_or_a_repo_at_a_revision(tmp_path: Path) -> None:
    settings = Settings({"mine": str(tmp_path), "theirs": "owner/name@abc123", "latest": "owner/name"})

    assert find("mine", settings) == Source(str(tmp_path), folder=tmp_path)
    assert find("theirs", settings) == Source("owner/name", revision="abc123")
    assert find("latest", settings) == Source("owner/name")
    assert find(str(tmp_path), Settings()).folder == tmp_path


def test_an_unknown_pipeline_names_the_setting() -> None:
    with pytest.raises(PlatformError, match=r'weights of "gms-flux:1.0-standard".*Set AUTEUR_DIFFUSION__MODELS='):
        find("gms-flux:1.0-standard", Settings())


def test_a_mount_that_is_missing_is_named(tmp_path: Path) -> None:
    with pytest.raises(PlatformError, match=r'nowhere of "mine" is not there; mount it'):
        find("mine", Settings({"mine": str(tmp_path / "nowhere")}))


@pytest.mark.parametrize("value", ["not json", "[]", '{"a": 1}'])
def test_a_wrong_setting_is_a_sentence(value: str) -> None:
    with pytest.raises(PlatformError, match="AUTEUR_DIFFUSION__MODELS must be a JSON object"):
        Settings.read({"AUTEUR_DIFFUSION__MODELS": value})


def test_settings_are_read_from_the_environment() -> None:
    read = Settings.read({"AUTEUR_DIFFUSION__MODELS": '{"a": "/b"}', "AUTEUR_DIFFUSION__PREVIEWS": "false"})

    assert read == Settings({"a": "/b"}, previews=False)
    assert Settings.read({}) == Settings()


def test_a_folder_that_is_no_pipeline_is_refused(tmp_path: Path) -> None:
    with pytest.raises(PlatformError, match=r"no model_index\.json"):
        check(tmp_path)


def test_pickled_weights_are_refused(models: dict[str, Path], tmp_path: Path) -> None:
    folder = shutil.copytree(models["random-sd"], tmp_path / "pickled")
    weights = folder / "unet" / "diffusion_pytorch_model.safetensors"
    weights.rename(weights.with_suffix(".bin"))

    with pytest.raises(PlatformError, match=r"unet/diffusion_pytorch_model\.bin .* is a pickle"):
        check(folder)


def test_pickles_beside_safetensors_are_left_alone(models: dict[str, Path], tmp_path: Path) -> None:
    folder = shutil.copytree(models["random-sd"], tmp_path / "both")
    (folder / "unet" / "diffusion_pytorch_model.bin").write_bytes(b"never read")

    check(folder)


def test_a_changed_model_is_refused_and_an_unchanged_one_is_not(models: dict[str, Path], tmp_path: Path) -> None:
    folder = shutil.copytree(models["random-sd"], tmp_path / "signed")
    name = "unet/config.json"
    digests = {name: hashlib.sha256((folder / name).read_bytes()).hexdigest()}
    (folder / sources.DIGESTS).write_text(json.dumps(digests))
    check(folder)

    (folder / name).write_text("{}")

    with pytest.raises(PlatformError, match=r"unet/config\.json in .* is not what digests\.json says"):
        check(folder)
