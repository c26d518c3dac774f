"""The floor of a first picture: import, load, draw, save, as a script in the runner's environment would.

`python bare_picture.py MODEL FILE`
"""

import sys

PROMPT = "a large red star on a blue background"
SEED, SIDE, STEPS = 7, 128, 20


def main(model: str, file: str) -> None:
    import torch  # what `bench_startup` imports from here needs neither
    from diffusers import DiffusionPipeline

    torch.set_num_threads(1)  # as the runner does: the same bytes on every machine
    pipeline = DiffusionPipeline.from_pretrained(
        model, dtype=torch.float32, use_safetensors=True, local_files_only=True
    )
    picture = pipeline(
        prompt=PROMPT,
        width=SIDE,
        height=SIDE,
        num_inference_steps=STEPS,
        guidance_scale=2.0,
        generator=torch.Generator("cpu").manual_seed(SEED),
    ).images[0]
    picture.save(file)


if __name__ == "__main__":
    main(*sys.argv[1:])
