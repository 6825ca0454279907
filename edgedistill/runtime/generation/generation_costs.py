"""What generating costs on each subnet: a token, a prompt, and the memory of weights and caches together.

A token by itself reads every weight for one multiplication each, so that its time goes with the bytes of the weights. A
prompt reads them once for all its tokens, and what it takes beyond that goes with the multiplications. A profile tells
both, by its latencies at one token and at many.
"""

from __future__ import annotations

from dataclasses import replace

from edgedistill.palette import DeviceProfile, Manifest
from edgedistill.runtime.generation.demand import Demand
from edgedistill.runtime.predict.candidates import Beside, Candidate, smallest
from edgedistill.runtime.predict.costs import Costs, Rate, costs_for, qualities
from edgedistill.runtime.predict.slowdown import Size

__all__ = ["STEP", "GenerationCosts", "StepCosts", "generation_costs"]

STEP = Size(1, 1)
"""One token after another."""

_MANIFEST_TOKENS = 64  # the manifest's MACs are of one sequence of so many


class StepCosts:
    """Guesses without a profile: the times of a byte and of a MAC are learnt from whatever subnet answers.

    Memory is taken to be the size on disk.
    """

    def __init__(self, manifest: Manifest) -> None:
        self._bytes = {one.name: one.total_parameters * one.quantization.bytes_per_weight for one in manifest.subnets}
        self._macs = {one.name: float(one.macs) for one in manifest.subnets}
        self._sizes_mb = {one.name: one.size_mb for one in manifest.subnets}
        self._qualities = qualities(manifest)
        self._byte, self._mac = Rate(), Rate()

    def candidates(self, size: Size) -> list[Candidate]:
        """Every subnet with its guesses; no latency before the first requests of that kind."""
        return [self.candidate(name, size) for name in self._qualities]

    def candidate(self, name: str, size: Size) -> Candidate:
        """One of them."""
        return Candidate(name, self._qualities[name], self._sizes_mb[name], self._expected_ms(name, size), None)

    def ratio(self, subnet: str, size: Size, latency_ms: float) -> float | None:
        """Observed over guessed latency; learns from the observation first."""
        if size.tokens == 1:
            self._byte.learn(latency_ms, self._bytes[subnet])
        else:
            reading_ms = self._byte.expected_ms(self._bytes[subnet]) or 0.0
            self._mac.learn(max(latency_ms - reading_ms, 0.0), self._macs_of(subnet, size))
        expected_ms = self._expected_ms(subnet, size)
        return latency_ms / expected_ms if expected_ms else None

    def _expected_ms(self, subnet: str, size: Size) -> float | None:
        reading_ms = self._byte.expected_ms(self._bytes[subnet])
        if size.tokens == 1:
            return reading_ms
        more_ms = self._mac.expected_ms(self._macs_of(subnet, size))
        return None if reading_ms is None or more_ms is None else reading_ms + more_ms

    def _macs_of(self, subnet: str, size: Size) -> float:
        return self._macs[subnet] * size.work / _MANIFEST_TOKENS


class GenerationCosts:
    """What others expect of each subnet, put together for generation.

    ``candidates``, by which subnets are chosen, are for a token at a time whatever size is asked for, with the first
    token after the longest of the last prompts beside it; and their memory is with the caches of all generations under
    way, on the one subnet that serves: the smallest beside it has none.
    """

    def __init__(self, costs: Costs, manifest: Manifest, demand: Demand) -> None:
        self._costs, self._demand = costs, demand
        self._bytes_a_token = {one.name: one.cache_bytes_a_token or 0 for one in manifest.subnets}

    def candidates(self, size: Size) -> list[Candidate]:  # noqa: ARG002 (a protocol's)
        """Every subnet."""
        single = self._costs.candidates(STEP)
        floor = smallest(single)
        return [self._whole(one, floor) for one in single]

    def candidate(self, name: str, size: Size) -> Candidate:
        """One of them, at exactly this size, without caches."""
        return self._costs.candidate(name, size)

    def ratio(self, subnet: str, size: Size, latency_ms: float) -> float | None:
        """Observed over expected latency at that size."""
        return self._costs.ratio(subnet, size, latency_ms)

    def _whole(self, one: Candidate, floor: Candidate) -> Candidate:
        prompt = self._costs.candidate(one.name, Size(1, self._demand.prompt_tokens))
        cache_mb = self._cache_mb(one.name)
        return replace(
            one,
            memory_mb=one.memory_mb + cache_mb,
            beside=None if one is floor else self._beside(one, floor, cache_mb),
            first_token_ms=prompt.p50_ms,
        )

    def _beside(self, one: Candidate, floor: Candidate, cache_mb: float) -> Beside:
        """What it adds to the smallest, whose own figure is with caches that it then does not have."""
        shared = one.beside is not None and one.beside.subnet == floor.name
        added_mb = one.beside.memory_mb if shared and one.beside else one.memory_mb
        return Beside(floor.name, added_mb + cache_mb - self._cache_mb(floor.name))

    def _cache_mb(self, subnet: str) -> float:
        return self._bytes_a_token[subnet] * self._demand.cached_tokens / 1e6


def generation_costs(
    manifest: Manifest, profile: DeviceProfile | None, threads: int | None, demand: Demand
) -> GenerationCosts:
    """By the profile; without one, guesses, and a line in the log that says so."""
    return GenerationCosts(costs_for(manifest, profile, threads, StepCosts), manifest, demand)
