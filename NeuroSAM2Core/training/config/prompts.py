"""The configuration of training prompts."""

from dataclasses import dataclass

from NeuroSAM2Core.errors import ConfigError


@dataclass(frozen=True, kw_only=True, slots=True)
class PromptConfig:
    """How training prompts are drawn."""

    box: float = 0.25
    """Probability that a clip starts from a box."""
    click: float = 0.25
    """Probability that it starts from one click; the rest start from the true mask."""
    auto_prompt_type: bool = False
    """Let the shapes of a batch's objects decide between box and click (compact ones suit a box); their common probability stays."""
    jitter_box_prob: float = 1.0
    """Probability that the sides of a batch's boxes are off by up to a tenth; a tight box says more about what is meant."""
    max_parts: int = 1
    """Prompt each connected part of an object on a slice, up to this many, the largest first; 1: prompt the object as a whole."""
    max_prompted: int = 2
    """At most this many slices are prompted from the start."""
    max_corrected: int = 2
    """At most this many slices get correction clicks, the prompted ones included."""
    num_corrections: int = 7
    """Correction clicks on such a slice."""
    random_corrections: bool = False
    """Place from none to `num_corrections` clicks instead, one and the same number in the whole batch, so that the memory of a slice
    with nothing but its first prompt is supervised, too."""
    click_from_truth: float = 0.1
    """Probability that a correction click ignores the error and falls anywhere in the object."""
    perturb_prev_mask_prob: float = 0.0
    """Probability that the neighbouring slice's mask is left out, grown or shrunk before it is shown (only for models that are shown
    it): otherwise what was once wrong would be believed from slice to slice."""
    swap_object_prob: float = 0.0
    """Probability that the answer to be corrected on a slice is replaced by the mask of another object of the clip: a person's click
    may also mean that something else was meant."""
    prev_box_prob: float = 0.0
    """Probability that a slice without prompts is shown the box of the mask on the nearest slice that was done, a little wider, as the
    engine may do while it propagates."""
    max_supervised: int = 0
    """In clips of more slices than this, those between the first and the last so many are only followed: without losses and gradients,
    unless they are prompted or corrected. So the model learns from its own drift over long distances at little cost. 0: every slice is
    supervised."""

    def __post_init__(self) -> None:
        for name in (
            "box",
            "click",
            "jitter_box_prob",
            "click_from_truth",
            "perturb_prev_mask_prob",
            "swap_object_prob",
            "prev_box_prob",
        ):
            if not 0 <= getattr(self, name) <= 1:
                raise ConfigError(f"prompts.{name} is a probability from 0 to 1; got {getattr(self, name):g}")
        if self.box + self.click > 1 + 1e-9:
            raise ConfigError(
                f"prompts.box and prompts.click are at most 1 together; got {self.box:g} and {self.click:g}"
            )
        for name, least in (
            ("max_parts", 1),
            ("max_prompted", 1),
            ("max_corrected", 0),
            ("num_corrections", 0),
            ("max_supervised", 0),
        ):
            if getattr(self, name) < least:
                raise ConfigError(f"prompts.{name} must be at least {least}; got {getattr(self, name)}")
