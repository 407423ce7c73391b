"""AdamW with SAM 2's rule for weight decay: none on biases and the weights of LayerNorm.

Source: Ravi et al. 2024, appendix D.2.
"""

from torch import Tensor, nn
from torch.optim import AdamW


def build_optimizer(model: nn.Module, *, weight_decay: float) -> AdamW:
    """Two groups, with and without decay; the learning rate is set before every step."""
    norms = {f"{name}.weight" for name, module in model.named_modules() if type(module) is nn.LayerNorm}
    decayed: list[Tensor] = []
    spared: list[Tensor] = []
    for name, parameter in model.named_parameters():
        (spared if "bias" in name or name in norms else decayed).append(parameter)
    groups = [{"params": decayed, "weight_decay": weight_decay}, {"params": spared, "weight_decay": 0.0}]
    return AdamW(groups, lr=0.0, betas=(0.9, 0.999))
