"""SAM 2: encode a slice once; read memory, decode a mask from prompts, write memory.

The model knows nothing of volumes, prompts' provenance or which slices to remember: tensors in, tensors out. The engine and the
trainer both drive it through the same five methods. State-dict keys and shapes are those of Meta's published files.

Source: Ravi et al., "SAM 2: Segment Anything in Images and Videos", 2024.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace

import torch
import torch.nn.functional as F  # noqa: N812
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from NeuroSAM2Core.model.config import SAM2Config
from NeuroSAM2Core.model.image_encoder import ImageEncoder
from NeuroSAM2Core.model.layers import MLP, grid_of, resized, sine_time, tokens_of
from NeuroSAM2Core.model.mask_decoder import MaskDecoder
from NeuroSAM2Core.model.memory import LayerKeys, MemoryAttention, MemoryEncoder
from NeuroSAM2Core.model.prompt_encoder import NOTHING, PromptEncoder
from NeuroSAM2Core.model.results import ImageFeatures, MaskPrediction, PointerMemory, Points, SpatialMemory

MaskSelector = Callable[[Float[Tensor, "b m s4 s4"], Float[Tensor, "b m"]], Int[Tensor, " b"]]
"""Chooses a candidate for each object, given all masks and the IoU expected of each."""
ABSENT_LOGIT = -1024.0
MASK_PROMPT_LOGIT = 10.0
MEMORY_MASK_SCALE = 20.0
MEMORY_MASK_BIAS = -10.0


class SAM2(nn.Module):
    """The whole model."""

    def __init__(self, config: SAM2Config) -> None:
        super().__init__()
        self.config = config
        width, memory_width = config.width, config.memory_width
        self.image_encoder = ImageEncoder(config)
        self.sam_prompt_encoder = PromptEncoder(config)
        self.sam_mask_decoder = MaskDecoder(config)
        self.memory_encoder = MemoryEncoder(config)
        self.memory_attention = MemoryAttention(config)
        self.mask_downsample = nn.Conv2d(1, 1, kernel_size=4, stride=4)
        self.obj_ptr_proj = MLP(width, width, width, width)
        self.maskmem_tpos_enc = _token(config.num_mask_memories, 1, 1, memory_width)
        self.no_mem_embed = _token(1, 1, width)
        self.no_mem_pos_enc = _token(1, 1, width)  # Part of every published file; nothing reads it.
        self.no_obj_ptr = _token(1, width)
        if config.has_absence_embedding:
            self.no_obj_embed_spatial = _token(1, memory_width)
        if config.has_pointer_time:
            self.obj_ptr_tpos_proj = nn.Linear(width, memory_width)

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return self.no_mem_embed.device

    def set_image_size(self, image_size: int) -> None:
        """Sees slices at another size from now on; no weight depends on it.

        Raises:
            ConfigError: The size is not a multiple of 32.
        """
        self.config = replace(self.config, image_size=image_size)
        self.sam_prompt_encoder.image_size = image_size
        self.sam_prompt_encoder.side = self.config.grid

    def encode_image(self, images: Float[Tensor, "b 3 S S"]) -> ImageFeatures:
        """What the model sees in normalised images, whatever the prompts and the memory."""
        features: ImageFeatures = self.image_encoder(
            images, to_stride8=self.sam_mask_decoder.conv_s1, to_stride4=self.sam_mask_decoder.conv_s0
        )
        return features

    def without_memory(self, coarse: Float[Tensor, "b c s s"]) -> Float[Tensor, "b c s s"]:
        """Coarse features of a slice on which nothing is remembered yet."""
        return coarse + self.no_mem_embed.view(1, -1, 1, 1)

    def read_memory(
        self,
        coarse: Float[Tensor, "#b c s s"],
        slices: Sequence[SpatialMemory],
        pointers: Sequence[PointerMemory],
        *,
        slice_keys: Sequence[LayerKeys] | None = None,
        slot_keys: LayerKeys | None = None,
    ) -> Float[Tensor, "b c s s"]:
        """Coarse features conditioned on what is remembered of other slices.

        Args:
            coarse: The slice's own coarse features, of one slice for all objects or of one for each.
            slices: Remembered slices; at least one.
            pointers: Remembered object pointers.
            slice_keys: `memory_attention.keys_of` each slice where the caller kept them.
            slot_keys: `slot_keys()` where the caller kept them.
        """
        side = coarse.shape[-1]
        if slice_keys is None:
            slice_keys = [self.memory_attention.keys_of(memory.features) for memory in slices]
        if slot_keys is None:
            slot_keys = self.slot_keys(side)
        tokens = [tokens_of(memory.features) for memory in slices]
        rows = [self._slot_row(memory.slot) for memory in slices]
        keys = [
            [own + timed[row] for own, row in zip(layer_keys, rows, strict=True)]
            for layer_keys, timed in zip(zip(*slice_keys, strict=True), slot_keys, strict=True)
        ]
        if pointers:
            pointer_tokens, placed = self._pointer_tokens(pointers)
            tokens.append(pointer_tokens)
            for layer_keys, added in zip(keys, self.memory_attention.pointer_keys(placed), strict=True):
                layer_keys.append(added)
        memory = torch.cat(tokens, dim=1)
        joined = tuple(torch.cat(layer_keys, dim=1) for layer_keys in keys)
        return grid_of(self.memory_attention(coarse, joined, memory), side)

    def slot_keys(self, side: int) -> LayerKeys:
        """The share of each temporal slot in the keys of memory attention; constant while the weights are."""
        return self.memory_attention.slot_keys(self.maskmem_tpos_enc[:, 0, 0], side)

    def decode(
        self,
        conditioned: Float[Tensor, "b c s s"],
        features: ImageFeatures,
        *,
        points: Points | None = None,
        mask_logits: Float[Tensor, "b 1 h w"] | None = None,
        multimask: bool,
        stability_fallback: bool = False,
        choose: MaskSelector | None = None,
    ) -> MaskPrediction:
        """The masks of B objects.

        Args:
            conditioned: From `read_memory` or `without_memory`.
            features: The slice's own features, of one slice for all objects or of one for each.
            points: Point and box prompts; None if there are none.
            mask_logits: An earlier answer to refine, at a quarter of the input size.
            multimask: Consider three readings of the prompt and choose the most promising.
            stability_fallback: See `MaskDecoder`; for inference only.
            choose: Chooses among the single mask and all three readings, whatever the other two say; the object's token stays the
                single mask's.
        """
        batch = len(conditioned)
        prompt_grid = self.sam_prompt_encoder.grid(mask_logits, points, batch)
        if points is None:
            nothing = conditioned.new_zeros(batch, 1, 2, dtype=torch.float32)
            points = Points(nothing, torch.full_like(nothing[..., 0], NOTHING))
        answer = self.sam_mask_decoder(
            conditioned,
            features.stride8,
            features.stride4,
            self.sam_prompt_encoder.tokens(points, features.stride8, features.stride4),
            prompt_grid,
            self.sam_prompt_encoder.grid_position(),
            multimask=multimask,
            every=choose is not None,
            stability_fallback=stability_fallback,
        )
        is_present = answer.object_score_logits > 0
        logits = torch.where(is_present[..., None, None], answer.logits.float(), ABSENT_LOGIT)
        best = answer.ious.argmax(dim=1) if choose is None else choose(logits, answer.ious)
        token = best if choose is None else torch.zeros_like(best)
        rows = torch.arange(batch, device=best.device)
        pointers = self._pointer_or_no_object(self.obj_ptr_proj(answer.tokens), is_present[:, None])
        return MaskPrediction(
            logits=logits[rows, best][:, None],
            iou=answer.ious[rows, best][:, None],
            pointer=pointers[rows, token],
            object_score_logits=answer.object_score_logits,
            all_logits=logits,
            all_ious=answer.ious,
            all_pointers=pointers,
        )

    def use_mask_as_output(self, features: ImageFeatures, mask: Bool[Tensor, "b 1 S S"]) -> MaskPrediction:
        """A given mask as if the model had predicted it, with an object pointer made from it.

        Args:
            features: The slice's own features; memory plays no part.
            mask: The mask at the size of the model's input.
        """
        filled = mask.float()
        is_present = filled.flatten(1).any(dim=1, keepdim=True)
        shape_prompt = self.mask_downsample(filled)
        seen = self.decode(features.coarse, features, mask_logits=shape_prompt, multimask=False)
        quarter = mask.shape[-1] // 4
        logits = resized(2 * MASK_PROMPT_LOGIT * filled - MASK_PROMPT_LOGIT, quarter, quarter)
        certain = torch.ones_like(is_present, dtype=torch.float32)
        pointer = self._pointer_or_no_object(seen.pointer, is_present)
        return MaskPrediction(
            logits=logits,
            iou=certain,
            pointer=pointer,
            object_score_logits=torch.where(is_present, MASK_PROMPT_LOGIT, -MASK_PROMPT_LOGIT),
            all_logits=logits,
            all_ious=certain,
            all_pointers=pointer[:, None],
        )

    def write_memory(
        self,
        features: ImageFeatures,
        logits: Float[Tensor, "b 1 h w"],
        object_score_logits: Float[Tensor, "b 1"],
        *,
        binarize: bool = False,
    ) -> Float[Tensor, "b cm s s"]:
        """What to remember of a slice and its mask.

        Args:
            features: The slice's own features, of one slice for all objects or of one for each.
            logits: The mask, at a quarter of the input size or at the full one.
            object_score_logits: Above 0 the object is there.
            binarize: Remember the thresholded mask instead of its probabilities.
        """
        size = self.config.image_size
        full = logits.float()
        if full.shape[-1] != size:
            full = F.interpolate(full, size=(size, size), mode="bilinear")
        mask = (full > 0).float() if binarize else full.sigmoid()
        memory: Tensor = self.memory_encoder(features.coarse, mask * MEMORY_MASK_SCALE + MEMORY_MASK_BIAS)
        if self.config.has_absence_embedding:
            absent = (object_score_logits <= 0).to(memory.dtype)
            memory = memory + (absent * self.no_obj_embed_spatial)[..., None, None]
        return memory

    def _slot_row(self, slot: int) -> int:
        """The row of `maskmem_tpos_enc` for a slot: conditioning slices have the last."""
        return slot - 1 if slot else self.config.num_mask_memories - 1

    def _pointer_tokens(
        self, pointers: Sequence[PointerMemory]
    ) -> tuple[Float[Tensor, "b p cm"], Float[Tensor, "b p cm"]]:
        """Each pointer cut into tokens of the memory's width: bare, and with its distance added."""
        memory_width = self.config.memory_width
        per_pointer = self.config.width // memory_width
        stacked = torch.stack([p.pointer for p in pointers], dim=1)
        tokens = stacked.unflatten(-1, (per_pointer, memory_width)).flatten(1, 2)
        if not self.config.has_pointer_time:
            return tokens, tokens
        offsets = torch.stack(
            [torch.as_tensor(p.offset, dtype=torch.float32).expand(len(stacked)) for p in pointers], dim=1
        )
        times = sine_time(offsets.flatten().to(stacked.device), self.config.width).unflatten(0, offsets.shape)
        position = self.obj_ptr_tpos_proj(times.to(stacked.dtype))
        return tokens, tokens + position.repeat_interleave(per_pointer, dim=1)

    def _pointer_or_no_object(
        self, pointer: Float[Tensor, "b ... c"], is_present: Bool[Tensor, "b ..."]
    ) -> Float[Tensor, "b ... c"]:
        return torch.where(is_present, pointer, self.no_obj_ptr)


def _token(*shape: int) -> nn.Parameter:
    return nn.Parameter(nn.init.trunc_normal_(torch.empty(shape), std=0.02))
