"""Networks: observation encoders and bodies. Algorithms put their heads on top.

    ObservationEncoder   columns of an observation -> features [B, F]
    build_body           features -> hidden features [copies, B, H], by `network.name`
    EnsembleLinear       one linear layer of several networks at once

Pure torch: no I/O, no clock; random numbers only when weights are made.
"""

from sojourn.networks.bodies import EnsembleLinear, Mlp, build_body
from sojourn.networks.encoder import ObservationEncoder

__all__ = ["EnsembleLinear", "Mlp", "ObservationEncoder", "build_body"]
