"""Random and mutated messages on every call of the contract, at a service that others use meanwhile: `sojourn bench fuzz`."""
