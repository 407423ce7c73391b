"""The mask decoder: prompts and image features in; candidate masks, their expected IoU, object score and the object's token out.

Source: Kirillov et al. 2023, appendix A; Ravi et al. 2024, section 4 and appendix D.1 (object score head, fine features, object
pointer).

The two-way transformer: prompt tokens look at the image, the image looks at the tokens.

Source: Kirillov et al. 2023, appendix A, "Lightweight mask decoder".
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F  # noqa: N812
from jaxtyping import Float
from torch import Tensor, nn

from NeuroSAM2Core.model.config import SAM2Config
from NeuroSAM2Core.model.layers import MLP, LayerNorm2d, grid_of, merge_heads, split_heads, tokens_of


class Attention(nn.Module):
    """Multi-head attention whose inner width may be smaller than its outer one."""

    def __init__(self, width: int, heads: int, *, downsample: int = 1) -> None:
        super().__init__()
        inner = width // downsample
        self.heads = heads
        self.q_proj = nn.Linear(width, inner)
        self.k_proj = nn.Linear(width, inner)
        self.v_proj = nn.Linear(width, inner)
        self.out_proj = nn.Linear(inner, width)

    def forward(
        self, q: Float[Tensor, "b n c"], k: Float[Tensor, "b m c"], v: Float[Tensor, "b m c"]
    ) -> Float[Tensor, "b n c"]:
        """Every query's mixture of the values."""
        q, k, v = (split_heads(p(x), self.heads) for p, x in ((self.q_proj, q), (self.k_proj, k), (self.v_proj, v)))
        out: Tensor = self.out_proj(merge_heads(F.scaled_dot_product_attention(q, k, v)))
        return out


class TwoWayBlock(nn.Module):
    """Tokens among themselves, tokens to image, tokens alone, image to tokens."""

    def __init__(self, width: int, heads: int, mlp_width: int, *, is_first: bool) -> None:
        super().__init__()
        self.is_first = is_first
        self.self_attn = Attention(width, heads)
        self.norm1 = nn.LayerNorm(width)
        self.cross_attn_token_to_image = Attention(width, heads, downsample=2)
        self.norm2 = nn.LayerNorm(width)
        self.mlp = MLP(width, mlp_width, width)
        self.norm3 = nn.LayerNorm(width)
        self.cross_attn_image_to_token = Attention(width, heads, downsample=2)
        self.norm4 = nn.LayerNorm(width)

    def forward(
        self,
        tokens: Float[Tensor, "b n c"],
        image: Float[Tensor, "b m c"],
        token_position: Float[Tensor, "b n c"],
        image_position: Float[Tensor, "1 m c"],
    ) -> tuple[Float[Tensor, "b n c"], Float[Tensor, "b m c"]]:
        """Tokens and image after one exchange."""
        if self.is_first:  # The tokens are nothing but their positions yet.
            tokens = self.norm1(self.self_attn(tokens, tokens, tokens))
        else:
            placed = tokens + token_position
            tokens = self.norm1(tokens + self.self_attn(placed, placed, tokens))
        placed_image = image + image_position
        tokens = self.norm2(tokens + self.cross_attn_token_to_image(tokens + token_position, placed_image, image))
        tokens = self.norm3(tokens + self.mlp(tokens))
        image = self.norm4(image + self.cross_attn_image_to_token(placed_image, tokens + token_position, tokens))
        return tokens, image


class TwoWayTransformer(nn.Module):
    """Two exchanges, then a last look of the tokens at the image."""

    def __init__(self, width: int, heads: int, mlp_width: int) -> None:
        super().__init__()
        self.layers = nn.ModuleList(TwoWayBlock(width, heads, mlp_width, is_first=i == 0) for i in range(2))
        self.final_attn_token_to_image = Attention(width, heads, downsample=2)
        self.norm_final_attn = nn.LayerNorm(width)

    def forward(
        self, tokens: Float[Tensor, "b n c"], image: Float[Tensor, "b m c"], image_position: Float[Tensor, "1 m c"]
    ) -> tuple[Float[Tensor, "b n c"], Float[Tensor, "b m c"]]:
        """Tokens and image, each having seen the other."""
        position = tokens
        for layer in self.layers:
            tokens, image = layer(tokens, image, position, image_position)
        attended = self.final_attn_token_to_image(tokens + position, image + image_position, image)
        return self.norm_final_attn(tokens + attended), image


NUM_CANDIDATES = 3
STABILITY_DELTA = 0.05
STABILITY_THRESHOLD = 0.98


@dataclass(frozen=True, slots=True)
class Candidates:
    """The decoder's raw answer: M masks with what belongs to each."""

    logits: Float[Tensor, "b m h w"]
    ious: Float[Tensor, "b m"]
    tokens: Float[Tensor, "b m c"]
    object_score_logits: Float[Tensor, "b 1"]


class MaskDecoder(nn.Module):
    """Four mask tokens: the first for an unambiguous prompt, three for the readings of an ambiguous one."""

    def __init__(self, config: SAM2Config) -> None:
        super().__init__()
        width = config.width
        self.transformer = TwoWayTransformer(width, config.decoder_heads, config.decoder_mlp_width)
        self.iou_token = nn.Embedding(1, width)
        self.mask_tokens = nn.Embedding(1 + NUM_CANDIDATES, width)
        self.obj_score_token = nn.Embedding(1, width)
        self.output_upscaling = nn.Sequential(
            nn.ConvTranspose2d(width, width // 4, kernel_size=2, stride=2),
            LayerNorm2d(width // 4),
            nn.GELU(),
            nn.ConvTranspose2d(width // 4, width // 8, kernel_size=2, stride=2),
            nn.GELU(),
        )
        self.conv_s0 = nn.Conv2d(width, width // 8, kernel_size=1)
        self.conv_s1 = nn.Conv2d(width, width // 4, kernel_size=1)
        self.output_hypernetworks_mlps = nn.ModuleList(
            MLP(width, width, width, width // 8) for _ in range(1 + NUM_CANDIDATES)
        )
        self.iou_prediction_head = MLP(width, width, width, 1 + NUM_CANDIDATES)
        self.pred_obj_score_head = MLP(width, width, width, 1)

    def forward(
        self,
        image: Float[Tensor, "b c s s"],
        stride8: Float[Tensor, "#b c4 s2 s2"],
        stride4: Float[Tensor, "#b c8 s4 s4"],
        prompt_tokens: Float[Tensor, "b n c"],
        prompt_grid: Float[Tensor, "b c s s"],
        grid_position: Float[Tensor, "1 c s s"],
        *,
        multimask: bool,
        every: bool = False,
        stability_fallback: bool,
    ) -> Candidates:
        """Decodes B objects.

        Args:
            image: Coarse features, conditioned on memory or not.
            stride8: Fine features at stride 8.
            stride4: Fine features at stride 4.
            prompt_tokens: Points and boxes.
            prompt_grid: The mask prompt.
            grid_position: Position encoding of the coarse grid.
            multimask: Answer with the three candidates instead of the single mask.
            every: Answer with the single mask and the three candidates.
            stability_fallback: Replace a single mask whose border is uncertain by the best of the three candidates.
        """
        batch, _, side, _ = image.shape
        own = torch.cat((self.obj_score_token.weight, self.iou_token.weight, self.mask_tokens.weight))
        tokens = torch.cat((own.expand(batch, -1, -1), prompt_tokens), dim=1)
        tokens, seen = self.transformer(tokens, tokens_of(image + prompt_grid), tokens_of(grid_position))
        object_score_token, iou_token, mask_tokens = tokens[:, 0], tokens[:, 1], tokens[:, 2 : 3 + NUM_CANDIDATES]

        fine = self._upscale(grid_of(seen, side), stride8, stride4)
        ious = self.iou_prediction_head(iou_token).sigmoid()
        object_score = self.pred_obj_score_head(object_score_token)

        def candidates(chosen: slice) -> Candidates:
            kernels = torch.stack(
                [m(t) for m, t in zip(self._kernels(chosen), mask_tokens[:, chosen].unbind(1), strict=True)], 1
            )
            logits = (kernels @ fine.flatten(2)).unflatten(2, fine.shape[2:])
            return Candidates(logits, ious[:, chosen], mask_tokens[:, chosen], object_score)

        if every:
            return candidates(slice(0, None))
        if multimask:
            return candidates(slice(1, None))
        single = candidates(slice(0, 1))
        if not stability_fallback:
            return single
        stable = stability(single.logits[:, 0]) >= STABILITY_THRESHOLD
        if stable.all():
            return single
        return _replace_unstable(single, candidates(slice(1, None)), stable)

    def _kernels(self, chosen: slice) -> list[nn.Module]:
        return list(self.output_hypernetworks_mlps)[chosen]

    def _upscale(
        self,
        seen: Float[Tensor, "b c s s"],
        stride8: Float[Tensor, "#b c4 s2 s2"],
        stride4: Float[Tensor, "#b c8 s4 s4"],
    ) -> Float[Tensor, "b c8 s4 s4"]:
        to_stride8, norm, gelu, to_stride4, _ = self.output_upscaling
        finer = gelu(norm(to_stride8(seen) + stride8))
        out: Tensor = gelu(to_stride4(finer) + stride4)
        return out


def stability(logits: Float[Tensor, "b h w"]) -> Float[Tensor, " b"]:
    """How little a mask changes as its threshold moves a little: 1 is certain; 1 for an empty mask."""
    inner = (logits > STABILITY_DELTA).sum(dim=(1, 2)).float()
    outer = (logits > -STABILITY_DELTA).sum(dim=(1, 2)).float()
    return torch.where(outer > 0, inner / outer.clamp(min=1), 1.0)


def _replace_unstable(single: Candidates, three: Candidates, stable: Tensor) -> Candidates:
    """The single mask where stable, else the most promising candidate; the object's token stays the single mask's."""
    rows = torch.arange(len(stable), device=stable.device)
    best = three.ious.argmax(dim=1)
    return Candidates(
        torch.where(stable[:, None, None, None], single.logits, three.logits[rows, best][:, None]),
        torch.where(stable[:, None], single.ious, three.ious[rows, best][:, None]),
        single.tokens,
        single.object_score_logits,
    )
