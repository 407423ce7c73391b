"""The two-way transformer: prompt tokens look at the image, the image looks at the tokens.

Source: Kirillov et al. 2023, appendix A, "Lightweight mask decoder".
"""

import torch.nn.functional as F  # noqa: N812
from jaxtyping import Float
from torch import Tensor, nn

from NeuroSAM2Core.model.layers import MLP, merge_heads, split_heads


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
