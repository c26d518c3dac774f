"""Pictures with diffusers, as two runners of the same functions: `tiny` carries its own small model and runs anywhere,
`flux` has the tiers of large models on CUDA cards. Importing this needs no torch: catalogues only read declarations.
"""

from auteur_diffusion.flux import flux
from auteur_diffusion.tiny import tiny

__all__ = ["flux", "tiny"]
