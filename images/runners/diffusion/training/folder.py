"""The pipeline's folder: half precision, its vocabulary, no trace of where it was made, and digests of it all."""

import hashlib
import json
from pathlib import Path

import torch
from diffusers import StableDiffusionPipeline

from training.words import vocabulary


def save(pipeline: StableDiffusionPipeline, output: Path) -> None:
    """Write the pipeline in half precision; it is no use in this process afterwards."""
    pipeline.to(dtype=torch.float16).save_pretrained(output)
    (output / "vocabulary.json").write_text(vocabulary(), encoding="utf-8")
    forget_where_it_was(output)
    write_digests(output)


def forget_where_it_was(output: Path) -> None:
    """Remove the folder's path on this machine, and how it was loaded, from what the libraries wrote."""
    for path in (output / "model_index.json", *output.glob("*/config.json"), *output.glob("*/tokenizer_config.json")):
        config = json.loads(path.read_text(encoding="utf-8"))
        for key in ("_name_or_path", "is_local", "local_files_only"):
            config.pop(key, None)
        path.write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")


def write_digests(output: Path) -> None:
    """`digests.json`: the SHA-256 of each file that makes the model, by its path; the model card is none of them."""
    apart = {"README.md", "digests.json"}
    files = sorted(path for path in output.rglob("*") if path.is_file() and path.name not in apart)
    digests = {path.relative_to(output).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}
    (output / "digests.json").write_text(json.dumps(digests, indent=1) + "\n", encoding="utf-8")
