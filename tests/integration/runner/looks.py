"""A function for the agent's tests: takes a file, shows previews, warns as much as it is told."""

import time
from datetime import timedelta

from auteur_runner import Context, Function, Input, Media, SetupContext


class Looks(Function):
    """Looks at a file."""

    name = "looks"

    class Params(Function.Params):
        warnings: int = 0
        seconds: float = 0
        block: bool = False

    class Inputs(Function.Inputs):
        image: Input | None = None

    class Output(Function.Output):
        seen: Media

    def run(self, params: Params, inputs: Inputs, ctx: Context) -> Output:
        for number in range(params.warnings):
            ctx.warning(f"{number} {'✓' * 500}")
        ctx.preview(_PIXEL)
        time.sleep(params.seconds)  # a preview that is still under way at the end is dropped
        if params.block:
            (ctx.folder / ".result.json").mkdir()
        seen = inputs.image.path.read_bytes() if inputs.image else b""
        return self.Output(seen=ctx.save(seen, "preview-1.jpg"))


class Slow(Function):
    """Never gets ready."""

    name = "slow"
    setup_timeout = timedelta(seconds=1)

    class Output(Function.Output):
        nothing: Media

    def setup(self, ctx: SetupContext) -> None:
        time.sleep(3600)

    def run(self, params: Function.Params, ctx: Context) -> Output:
        raise NotImplementedError


_PIXEL = bytes.fromhex(
    "89504e470d0a1a0a0000000d4948445200000001000000010802000000907753de0000000c49444154789c63606060000000040001"
    "f61738550000000049454e44ae426082"
)
