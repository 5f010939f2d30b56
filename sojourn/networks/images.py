"""Image leaves of an observation: where the channels are, and a small convolutional encoder. Pure torch, no I/O.

Axes: B items, S stacked frames, C channels, H rows, W columns.
"""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

LARGE_SIDE = 64  # below, the strides of Mnih et al. leave next to nothing of where things are: 1 x 1 of 42 x 42
SMALL_SIDE = 8  # smaller images are halved down to about this


def channels_first(image: Tensor, frame_shape: tuple[int, ...]) -> Tensor:
    """Bring an image to [B, channels, H, W]; stacked frames become channels.

    image: [B, H, W], [B, H, W, C], [B, C, H, W], or with a stack axis S in front of the frame: [B, S, *frame_shape].
    frame_shape: of one frame: (H, W), (H, W, C) or (C, H, W). The smaller of first and last axis holds the channels.
    """
    image = image.reshape(len(image), -1, *frame_shape)  # [B, S, *frame]
    if len(frame_shape) == 3 and frame_shape[-1] <= frame_shape[0]:
        image = image.permute(0, 1, 4, 2, 3)
    return image.reshape(len(image), -1, *image.shape[-2:])


def convolutions(channels: int, height: int, width: int) -> nn.Sequential:
    """Convolutions for images of the size: those of Mnih et al. 2015 for large ones, 3 x 3 with stride 2 for small ones."""
    if min(height, width) >= LARGE_SIDE:
        return nn.Sequential(
            nn.Conv2d(channels, 32, 8, stride=4),
            nn.ReLU(),
            nn.Conv2d(32, 64, 4, stride=2),
            nn.ReLU(),
            nn.Conv2d(64, 64, 3, stride=1),
            nn.ReLU(),
        )
    side = max(height, width)
    halvings = max(0, math.ceil(math.log2(side / SMALL_SIDE)))
    layers: list[nn.Module] = []
    for _ in range(max(1, halvings)):
        layers += [nn.Conv2d(channels, 32, 3, stride=2 if halvings else 1, padding=1), nn.ReLU()]
        channels = 32
    return nn.Sequential(*layers)


class ImageEncoder(nn.Module):
    """uint8 images to float32[B, features].

    Invariant: pixels are divided by the space's largest value, so the network sees [0, 1].
    """

    def __init__(self, shape: tuple[int, ...], frame_shape: tuple[int, ...], highest: float, features: int) -> None:
        """shape: what the policy sees, stack axis included.  frame_shape: of one stored frame.  highest: the space's bound."""
        super().__init__()
        self._frame_shape = frame_shape
        self._scale = 1.0 / max(highest, 1.0)
        channels, height, width = channels_first(torch.zeros(1, *shape), frame_shape).shape[1:]
        self.convolutions = convolutions(channels, height, width)
        flat = self.convolutions(torch.zeros(1, channels, height, width)).numel()
        self.projection = nn.Linear(flat, features)

    def forward(self, image: Tensor) -> Tensor:
        """uint8[B, *shape] to float32[B, features]."""
        pixels = channels_first(image, self._frame_shape).to(torch.float32) * self._scale
        return functional.relu(self.projection(self.convolutions(pixels).flatten(1)))
