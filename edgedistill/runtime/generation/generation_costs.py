"""Predict the cost of generation on each subnet: a token, a prefill, and the memory of weights and caches.

A single token reads each weight for one multiplication, so its time is proportional to the bytes of the weights. A
prefill reads them once for all its tokens, and its further time is proportional to the multiplications. A profile has
both: its latencies at one token and at many.
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
"""The size of decoding: one token at a time."""

_MANIFEST_TOKENS = 64  # the manifest's MACs are of one sequence of this length


class StepCosts:
    """Guess costs without a profile: the times of a byte and of a MAC are learnt from any subnet.

    Memory is assumed to be the size on disk.
    """

    def __init__(self, manifest: Manifest) -> None:
        self._bytes = {
            entry.name: entry.total_parameters * entry.quantization.bytes_per_weight for entry in manifest.subnets
        }
        self._macs = {entry.name: float(entry.macs) for entry in manifest.subnets}
        self._sizes_mb = {entry.name: entry.size_mb for entry in manifest.subnets}
        self._qualities = qualities(manifest)
        self._byte, self._mac = Rate(), Rate()

    def candidates(self, size: Size) -> list[Candidate]:
        """Return every subnet with its guesses; no latency before the first requests of that kind."""
        return [self.candidate(name, size) for name in self._qualities]

    def candidate(self, name: str, size: Size) -> Candidate:
        """Return one subnet with its guesses."""
        return Candidate(name, self._qualities[name], self._sizes_mb[name], self._expected_ms(name, size), None)

    def ratio(self, subnet: str, size: Size, latency_ms: float) -> float | None:
        """Learn from the observation, and return observed over guessed latency."""
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
    """Combine the predicted costs of tokens, prefill and caches.

    ``candidates``, from which a subnet is chosen, are for one token at a time, whatever the size, with the first-token
    time of the longest recent prompt. Their memory includes the caches of all generations under way, which are on the
    active subnet alone: the fallback has none.
    """

    def __init__(self, costs: Costs, manifest: Manifest, demand: Demand) -> None:
        self._costs, self._demand = costs, demand
        self._bytes_a_token = {entry.name: entry.cache_bytes_a_token or 0 for entry in manifest.subnets}

    def candidates(self, size: Size) -> list[Candidate]:  # noqa: ARG002 (a protocol's)
        """Return every subnet with its figures for generation."""
        single = self._costs.candidates(STEP)
        fallback = smallest(single)
        return [self._whole(candidate, fallback) for candidate in single]

    def candidate(self, name: str, size: Size) -> Candidate:
        """Return one subnet at exactly this size, without caches."""
        return self._costs.candidate(name, size)

    def ratio(self, subnet: str, size: Size, latency_ms: float) -> float | None:
        """Return observed over expected latency at that size."""
        return self._costs.ratio(subnet, size, latency_ms)

    def _whole(self, candidate: Candidate, fallback: Candidate) -> Candidate:
        prompt = self._costs.candidate(candidate.name, Size(1, self._demand.prompt_tokens))
        cache_mb = self._cache_mb(candidate.name)
        return replace(
            candidate,
            memory_mb=candidate.memory_mb + cache_mb,
            beside=None if candidate is fallback else self._beside(candidate, fallback, cache_mb),
            first_token_ms=prompt.p50_ms,
        )

    def _beside(self, candidate: Candidate, fallback: Candidate, cache_mb: float) -> Beside:
        """Return what it adds to the fallback, whose own figure includes caches that it does not have then."""
        shared = candidate.beside is not None and candidate.beside.subnet == fallback.name
        added_mb = candidate.beside.memory_mb if shared and candidate.beside else candidate.memory_mb
        return Beside(fallback.name, added_mb + cache_mb - self._cache_mb(fallback.name))

    def _cache_mb(self, subnet: str) -> float:
        return self._bytes_a_token[subnet] * self._demand.cached_tokens / 1e6


def generation_costs(
    manifest: Manifest, profile: DeviceProfile | None, threads: int | None, demand: Demand
) -> GenerationCosts:
    """Return costs by the profile; without one, log that, and return guesses."""
    return GenerationCosts(costs_for(manifest, profile, threads, StepCosts), manifest, demand)
