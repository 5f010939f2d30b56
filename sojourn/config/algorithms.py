"""Settings of algorithms and networks. Typed here, without torch, so that a wrong key is refused before anything starts.

An algorithm from outside names itself `package.module:attr` and takes what it needs under `settings`.
"""

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, PositiveInt

from sojourn.config.plugin_names import Network
from sojourn.config.section import Section


class AlgorithmBase(Section):
    """What every algorithm has."""

    discount: float = Field(0.99, ge=0, le=1)  # per step, or per duration.time_unit_s where the objective discounts in time
    learning_rate: float = Field(3e-4, gt=0)
    max_gradient_norm: float | None = Field(None, gt=0)
    weight_decay: float = Field(0.0, ge=0)  # decoupled, of everything but the temperature


class SacSettings(AlgorithmBase):
    """Soft actor-critic with tuned temperature (Haarnoja et al. 2018, arXiv 1812.05905)."""

    name: Literal["sac"] = "sac"
    target_update_rate: float = Field(0.005, gt=0, le=1)
    target_entropy: float | None = None  # None: minus the number of action dimensions
    initial_temperature: float = Field(1.0, gt=0)
    entropy: Literal["standard", "centred"] = "standard"
    rate_memory_batches: int = Field(100, ge=1)  # per_second: batches that the running reward rate remembers


class DqnSettings(AlgorithmBase):
    """Deep Q-learning: double, dueling, n-step, prioritised."""

    name: Literal["dqn"] = "dqn"
    learning_rate: float = Field(1e-4, gt=0)
    double: bool = True
    dueling: bool = True
    target_update_every: int = Field(500, ge=1)  # learner steps
    exploration_start: float = Field(1.0, ge=0, le=1)
    exploration_end: float = Field(0.05, ge=0, le=1)
    exploration_env_steps: int = Field(10_000, ge=1)  # linear decay over so many accepted steps


class ActorCriticSettings(AlgorithmBase):
    """What the learners of segments have, PPO and V-trace."""

    max_gradient_norm: float | None = Field(0.5, gt=0)
    trace: float = Field(1.0, ge=0, le=1)  # lambda, per step or per duration.time_unit_s
    trace_per: Literal["step", "time_unit"] = "step"
    value_cost: float = Field(0.5, gt=0)  # of the value's squared error in the loss
    entropy_cost: float = Field(0.01, ge=0)  # of the entropy bonus
    normalise_advantage: bool = False  # to weighted mean 0 and deviation 1 over the batch
    initial_std: float = Field(0.5, gt=0)  # of continuous actions, in units of half a dimension's range
    rate_memory_batches: int = Field(100, ge=1)  # per_second: batches that the running reward rate remembers


class VTraceSettings(ActorCriticSettings):
    """V-trace actor-critic (Espeholt et al. 2018, arXiv 1802.01561)."""

    name: Literal["vtrace"] = "vtrace"
    rho_clip: float = Field(1.0, gt=0)  # on the ratios in value targets and policy gradient
    c_clip: float = Field(1.0, gt=0)  # on the ratios in the trace


class PpoSettings(ActorCriticSettings):
    """Proximal policy optimisation with generalised advantages (Schulman et al. 2017, arXiv 1707.06347)."""

    name: Literal["ppo"] = "ppo"
    trace: float = Field(0.95, ge=0, le=1)
    entropy_cost: float = Field(0.0, ge=0)
    normalise_advantage: bool = True
    ratio_clip: float = Field(0.2, gt=0)  # ratios count within 1 +- this
    epochs: int = Field(4, ge=1)  # passes over a batch
    minibatches: int = Field(4, ge=1)  # gradient steps of a pass


class PluginSettings(AlgorithmBase):
    """An algorithm from outside this repository."""

    name: str = Field(pattern=r"^[\w.]+:[\w.]+$")
    settings: dict[str, Any] = Field(default_factory=dict)


class NetworkSettings(Section):
    """The network's body. Image leaves of an observation get a small convolutional encoder."""

    name: Network = "mlp"  # mlp | simba | package.module:attr
    hidden: tuple[PositiveInt, ...] = (256, 256)
    critic_hidden: tuple[PositiveInt, ...] | None = None  # of critics and value networks; None: as `hidden`
    activation: Literal["relu", "tanh", "elu", "silu"] = "relu"
    image_features: int = Field(256, ge=1)
    layer_norm: bool = False

    def of_critic(self) -> "NetworkSettings":
        """The same for critics and value networks."""
        return self if self.critic_hidden is None else self.model_copy(update={"hidden": self.critic_hidden})


KNOWN_ALGORITHMS: dict[str, type[AlgorithmBase]] = {
    "sac": SacSettings,
    "dqn": DqnSettings,
    "vtrace": VTraceSettings,
    "ppo": PpoSettings,
}


def choose_algorithm(value: Any) -> Any:
    """Make settings from `sac`, `{name: sac, ...}` or settings already made."""
    if isinstance(value, AlgorithmBase):
        return value
    if not isinstance(value, str | Mapping | None):
        raise ValueError(f"must be a name or a section with keys of its own, got {value!r}")
    fields = {"name": value} if isinstance(value, str) else dict(value or {})
    name = fields.setdefault("name", "sac")
    model = KNOWN_ALGORITHMS.get(str(name), PluginSettings)
    return model.model_validate(fields)


AlgorithmSettings = Annotated[
    SacSettings | DqnSettings | VTraceSettings | PpoSettings | PluginSettings, BeforeValidator(choose_algorithm)
]
