"""Networks: observation encoders and bodies. Algorithms put their heads on top.

    ObservationEncoder   columns of an observation -> features [B, F]
    build_body           features -> hidden features [copies, B, H], by `network.name`
    Body                 what `network.name: package.module:attr` makes
    EnsembleLinear       one linear layer of several networks at once
    forward_pass         encoder and modules without torch, for inference on a few observations

Torch, and NumPy where torch's calls cost more than they do: no I/O, no clock; random numbers only when weights are made.
"""

from sojourn.networks.bodies import Mlp, build_body
from sojourn.networks.encoder import ObservationEncoder
from sojourn.networks.forward import FEW, forward_pass
from sojourn.networks.layers import Body, EnsembleLinear

__all__ = ["FEW", "Body", "EnsembleLinear", "Mlp", "ObservationEncoder", "build_body", "forward_pass"]
