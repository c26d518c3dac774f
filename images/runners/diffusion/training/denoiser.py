"""Text encoder and denoiser, trained together on the latents of drawn pictures and on captions in ever new words."""

import copy
import logging
import random
import time
from pathlib import Path
from typing import TypeAlias

import torch
from diffusers import AutoencoderKL, DDIMScheduler, StableDiffusionPipeline, UNet2DConditionModel
from tokenizers import Regex, Tokenizer, models, normalizers, pre_tokenizers, processors
from torch import Tensor, nn
from transformers import CLIPTextConfig, CLIPTextModel, PreTrainedTokenizerFast

from training.autoencoder import CHANNELS, SCALE, SIDE, encode
from training.drawing import Jitter, caption, chance_scene, draw
from training.evaluate import held_out_grid, obedience, table_row
from training.fitting import THREADS, Budget, fit, separate_threads
from training.folder import save
from training.words import ARTICLES, SPOKEN

log = logging.getLogger("train")

PROMPT_TOKENS = 24
BATCH = 32
SPECIAL_WORDS = {"pad_token": "<pad>", "unk_token": "<unk>", "bos_token": "<bos>", "eos_token": "<eos>"}
WORDS = (*ARTICLES, *SPOKEN)
Batch: TypeAlias = tuple[Tensor, Tensor, Tensor, Tensor]
"""Noisy latents, times, tokens, the velocity to predict; n of each."""


def new_tokenizer() -> PreTrainedTokenizerFast:
    """One token a word, any case, no punctuation."""
    numbers = {word: number for number, word in enumerate((*SPECIAL_WORDS.values(), *WORDS))}
    begin, end = SPECIAL_WORDS["bos_token"], SPECIAL_WORDS["eos_token"]
    tokenizer = Tokenizer(models.WordLevel(numbers, unk_token=SPECIAL_WORDS["unk_token"]))
    tokenizer.normalizer = normalizers.Sequence([normalizers.Lowercase(), normalizers.Replace(Regex(r"[^\w<>]+"), " ")])
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{begin} $A {end}", special_tokens=[(word, numbers[word]) for word in (begin, end)]
    )
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, model_max_length=PROMPT_TOKENS, **SPECIAL_WORDS)


def new_pipeline(autoencoder: AutoencoderKL) -> StableDiffusionPipeline:
    """Untrained but for its autoencoder."""
    width = 96
    text_encoder = CLIPTextModel(
        CLIPTextConfig(
            vocab_size=len(SPECIAL_WORDS) + len(WORDS),
            hidden_size=width,
            intermediate_size=2 * width,
            num_hidden_layers=2,
            num_attention_heads=4,
            max_position_embeddings=PROMPT_TOKENS,
            projection_dim=width,
            pad_token_id=0,
            bos_token_id=2,
            eos_token_id=3,
        )
    )
    denoiser = UNet2DConditionModel(
        sample_size=SIDE // SCALE,
        in_channels=CHANNELS,
        out_channels=CHANNELS,
        layers_per_block=1,
        block_out_channels=(64, 128),
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
        cross_attention_dim=width,
        time_embedding_dim=128,
        attention_head_dim=4,
        norm_num_groups=16,
        # The pooled prompt joins the time embedding: colours and backgrounds are obeyed within a few hundred steps.
        addition_embed_type="text",
        addition_embed_type_num_heads=4,
    )
    scheduler = DDIMScheduler(
        beta_start=0.00085,
        beta_end=0.012,
        beta_schedule="scaled_linear",
        prediction_type="v_prediction",
        # Without these two no picture could be all black or all white.
        rescale_betas_zero_snr=True,
        timestep_spacing="trailing",
        clip_sample=False,
        set_alpha_to_one=False,
        steps_offset=1,
    )
    pipeline = StableDiffusionPipeline(
        vae=autoencoder,
        text_encoder=text_encoder,
        tokenizer=new_tokenizer(),
        unet=denoiser,
        scheduler=scheduler,
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


def spoken(said: str, rng: random.Random) -> str:
    """Nothing in a tenth of all cases, for classifier-free guidance; sometimes with a word nobody knows."""
    if rng.random() < 0.1:
        return ""
    words = said.split()
    if rng.random() < 0.05:
        words.insert(rng.randrange(len(words) + 1), SPECIAL_WORDS["unk_token"])
    return " ".join(words)


def train_denoiser(
    pipeline: StableDiffusionPipeline, budget: Budget, rng: random.Random, *, rate: float, pictures: int, output: Path
) -> None:
    """Velocity prediction on the latents of `pictures` drawings, each asked for in new words every time.

    The running average of the weights is judged, and written to `output`, every 500 steps and at the end.
    """
    scenes = [chance_scene(rng) for _ in range(pictures)]
    latents = encode(pipeline.vae, [draw(scene, SIDE, Jitter.chance(rng)) for scene in scenes])
    log.info("%d pictures encoded: mean %.2f, deviation %.2f", pictures, latents.mean(), latents.std())
    trained = nn.ModuleList([pipeline.unet, pipeline.text_encoder]).train()
    workers = [trained, *(twin(trained) for _ in range(THREADS - 1))]
    average = copy.deepcopy(trained).eval()
    schedule = pipeline.scheduler
    threads = separate_threads()

    def batch() -> Batch:
        chosen = torch.randint(0, pictures, (BATCH,))
        prompts = [spoken(caption(scenes[index], rng), rng) for index in chosen.tolist()]
        tokens = pipeline.tokenizer(prompts, padding="max_length", truncation=True, return_tensors="pt").input_ids
        clean, noise = latents[chosen], torch.randn(BATCH, *latents.shape[1:])
        # Place and shape of so plain a picture can be read off all but the deepest noise: there the prompt is learned.
        last = schedule.config.num_train_timesteps - 1
        times = last - (torch.rand(BATCH) ** 3 * last).round().long()
        return schedule.add_noise(clean, noise, times), times, tokens, schedule.get_velocity(clean, noise, times)

    def backward() -> float:
        shares = zip(*(part.chunk(THREADS) for part in batch()), strict=True)
        loss = sum(threads.map(backward_of_a_share, workers, shares))
        for worker in workers[1:]:
            for parameter, same in zip(trained.parameters(), worker.parameters(), strict=True):
                parameter.grad += same.grad
                same.grad = None
        return loss

    def keep_average(step: int) -> None:
        follow(average, trained, decay=min(0.999, step / (step + 10)))
        if step % 500 == 0:
            log_and_save(pipeline, average, output)

    fit(list(trained.parameters()), backward, budget, peak_rate=rate, after_step=keep_average)
    log_and_save(pipeline, average, output)


def twin(trained: nn.ModuleList) -> nn.ModuleList:
    """The same weights in the same memory, with gradients of its own."""
    other = copy.deepcopy(trained)
    for parameter, same in zip(trained.parameters(), other.parameters(), strict=True):
        same.data = parameter.data
    return other


def backward_of_a_share(worker: nn.ModuleList, share: Batch) -> float:
    """Add the gradients of one thread's share of a batch; return its part of the loss."""
    denoiser, text_encoder = worker
    noisy, times, tokens, velocity = share
    with torch.autocast("cpu", torch.bfloat16):  # a third faster
        guess = denoiser(noisy, times, text_encoder(tokens).last_hidden_state).sample
    loss = nn.functional.mse_loss(guess.float(), velocity) / THREADS
    loss.backward()
    return loss.item()


@torch.no_grad()
def follow(average: nn.Module, trained: nn.Module, *, decay: float) -> None:
    """Exponential moving average of the weights."""
    torch._foreach_lerp_(list(average.parameters()), list(trained.parameters()), 1 - decay)


def log_and_save(pipeline: StableDiffusionPipeline, average: nn.ModuleList, output: Path) -> None:
    """Judge the averaged weights on an eighth of the held-out scenes, then write them."""
    began = time.monotonic()
    kept = copy.deepcopy(pipeline)
    kept.unet, kept.text_encoder = copy.deepcopy(average)
    row = table_row(obedience(kept, held_out_grid()[::8], steps=20, guidance=2.0))
    log.info("held out: %s  (%.0f s)", row, time.monotonic() - began)
    save(kept, output)
