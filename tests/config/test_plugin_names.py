"""Do the short names that a configuration accepts exist where their concepts are owned?"""

from replay.removers import REMOVERS
from replay.samplers import SAMPLERS
from replay.weighting import WEIGHTINGS
from sojourn.algorithms import ALGORITHMS
from sojourn.cli.catalogue import SAMPLER_NOTES, WEIGHTING_NOTES
from sojourn.config import plugin_names
from sojourn.config.algorithms import KNOWN_ALGORITHMS
from sojourn.networks.bodies import BODIES


def test_every_accepted_name_is_made_by_its_owner_and_the_other_way_round():
    assert set(KNOWN_ALGORITHMS) == set(ALGORITHMS)
    assert set(plugin_names.NETWORKS) == set(BODIES)
    assert set(plugin_names.SAMPLERS) == set(SAMPLERS) == set(SAMPLER_NOTES)
    assert set(plugin_names.REMOVERS) == set(REMOVERS)
    assert set(plugin_names.WEIGHTS) == set(WEIGHTINGS) == set(WEIGHTING_NOTES)
