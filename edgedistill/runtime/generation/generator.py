"""Generate text token by token, with the subnet that fits at each of them."""

from __future__ import annotations

import atexit
import math
import weakref
from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

from edgedistill.errors import InputError, LoadError
from edgedistill.palette import DeviceProfile, Manifest, Palette, open_palette
from edgedistill.runtime.arguments import is_integer, is_real
from edgedistill.runtime.control.background import CLOSING_S
from edgedistill.runtime.control.decide import Policy, Reason
from edgedistill.runtime.decisions import DecisionRecord
from edgedistill.runtime.engine.kv_cache import Cache, heads_of
from edgedistill.runtime.engine.step_runner import StepRunner
from edgedistill.runtime.generation.active_text import ActiveText
from edgedistill.runtime.generation.demand import Demand
from edgedistill.runtime.generation.generation_costs import STEP, generation_costs
from edgedistill.runtime.generation.messages import Message
from edgedistill.runtime.generation.prompts import Prompt, Prompts, generation_of
from edgedistill.runtime.generation.stop_strings import StopStrings
from edgedistill.runtime.generation.stream import Generated, Stream, Writer
from edgedistill.runtime.generation.token_sampling import Sampler, Sampling
from edgedistill.runtime.onnx import OnnxSession, StepSession
from edgedistill.runtime.predict.costs import Costs
from edgedistill.runtime.serving import Serving
from edgedistill.runtime.stopping import run_options

__all__ = ["TextGenerator"]

_running: weakref.WeakSet[TextGenerator] = weakref.WeakSet()


@atexit.register
def _close_all() -> None:
    """Close all generators before the interpreter ends: abandoned texts hold subnets that would be waited for."""
    for generator in list(_running):
        generator.close()


class TextGenerator(Serving):
    """Generate text with a palette's subnets, and change them in mid-text. All methods are safe to call from any
    thread.

    When the active subnet changes, the new one re-prefills the tokens generated so far. From then on the output equals
    what it would have generated itself. A text moves at once for memory, a budget, heat, a failure or a pin; for
    quality or speed alone it moves once that is worth the prefill (`migration`). Each text has a cache of its own,
    which counts as memory of the active subnet. If a subnet fails in mid-text, the smallest continues.

    Args:
        palette: the palette's folder, or a palette from `manifest.load`. Every file's SHA-256 is checked.
        max_first_token_ms: budget for the 95th percentile of a prompt's prefill; None for no budget. A text starts on
            the smallest subnet if the active one is not expected to meet it.
        min_tokens_per_s: budget for the 5th percentile of the speed after the first token; None for no budget. If not
            even the smallest subnet meets it, that one serves, and `explain` says so.
        max_memory_mb: budget for all subnets in memory together with all caches, in 10⁶ bytes; None for no budget.
        policy: budgets and everything else that `Policy` has, in place of the three before; its ``max_latency_ms`` is
            the budget of one token.
        digest: the digest that the palette must have; see `AdaptiveSession`.
        options: ``threads``, ``interval_s``, ``profile``, ``only``, ``on_decision``, ``sensors``, ``create`` and
            ``clock``; see `AdaptiveSession`.

    Raises:
        PaletteError: the palette is damaged, is not for generation, or has no profile or no subnet of that name.
        InputError: an option is out of its range.
        OnnxruntimeMissing: onnxruntime cannot be imported.
        LoadError: the first subnet cannot be loaded.
    """

    def __init__(
        self,
        palette: str | Path | Palette,
        *,
        max_first_token_ms: float | None = None,
        min_tokens_per_s: float | None = None,
        max_memory_mb: float | None = None,
        policy: Policy | None = None,
        digest: str | None = None,
        **options: Any,
    ) -> None:
        opened = open_palette(palette, digest)
        self._demand = demand = Demand(generation_of(opened).context_tokens)
        self._policy = _policy(policy, max_first_token_ms, min_tokens_per_s, max_memory_mb)

        def costs_of(manifest: Manifest, profile: DeviceProfile | None, threads: int) -> Costs:
            return generation_costs(manifest, profile, threads, demand)

        super().__init__(opened, policy=self._policy, size=STEP, costs_of=costs_of, warm_up=_warm_up, **options)
        try:
            self._prompts = Prompts(self.palette)
        except BaseException:
            super().close()
            raise
        _running.add(self)

    def generate(self, prompt: Prompt, **options: Any) -> Generated:
        """Return the whole text that follows a prompt; the options and errors are those of `stream`."""
        with self.stream(prompt, **options) as stream:
            for _ in stream:
                pass
            return stream.result

    def stream(
        self,
        prompt: Prompt,
        *,
        max_new_tokens: int = 256,
        temperature: float = 0.0,
        top_k: int | None = None,
        top_p: float | None = None,
        seed: int | None = None,
        stop: Sequence[str] = (),
    ) -> Stream:
        """Stream the text that follows a prompt; generation starts with the first read.

        Args:
            prompt: a text, or its token ids.
            max_new_tokens: maximum number of tokens to generate, cut to the rest of the context.
            temperature: 0 for greedy decoding; otherwise the divisor of logits before sampling.
            top_k: sample from this many of the likeliest tokens; None for all.
            top_p: sample from the fewest likeliest of them with this total probability; None for all.
            seed: seed of the sampling; None for another one each time.
            stop: strings that end the text, and are left out.

        Raises:
            InputError: the prompt is empty or too long, or an option is out of its range.
            GenerationError: while reading: a subnet failed, and no other in memory could continue.
            SessionClosed: at the first read: after `close`.
        """
        if not (is_integer(max_new_tokens) and max_new_tokens >= 1):
            raise InputError(f"max_new_tokens is {max_new_tokens!r}; expected a whole number from 1 on")
        sampler = Sampler(Sampling(temperature, top_k, top_p, seed))
        stops = StopStrings(stop)
        ids = self._prompts.ids(prompt)
        generation = self._prompts.generation
        most = min(int(max_new_tokens), generation.context_tokens - len(ids))
        text = ActiveText(
            self._controller,
            self._demand,
            self._clock,
            ids,
            most,
            generation.context_tokens,
            self._policy.max_first_token_ms,
        )
        writer = Writer(
            text,
            sampler=sampler,
            detokenizer=self._prompts.detokenizer(ids),
            stops=stops,
            ends=generation.eos_token_ids,
            most=most,
            clock=self._clock,
        )
        return Stream(writer, self)

    def chat(self, messages: Sequence[Message], **options: Any) -> Generated:
        """Return the assistant's next message; the options and errors are those of `stream` and `chat_prompt`."""
        return self.generate(self.chat_prompt(messages), **options)

    def chat_prompt(self, messages: Sequence[Message]) -> list[int]:
        """Return the token ids of a chat, as `generate` and `stream` take them, by the palette's own template.

        A message that spells a special token is encoded as plain text: it cannot open a turn of its own.

        Args:
            messages: oldest first, each with a ``role`` ("system", "user", "assistant"), its ``content`` (a text, or a
                list of parts such as ``{"type": "text", "text": "..."}``), and what else the template uses.

        Raises:
            InputError: the palette has no chat template, it refuses the messages, or jinja2 is not installed.
            PaletteError: the template fails at any chat.
        """
        return self._prompts.chat_ids(messages)

    def token_ids(self, prompt: str) -> list[int]:
        """Return the token ids of a prompt; with `Generated.token_ids` appended, they are a prompt to continue.

        Raises:
            InputError: the prompt is empty or too long.
        """
        return self._prompts.ids(prompt)

    @property
    def cached_tokens(self) -> int:
        """Return the capacity, in tokens, of the caches of all texts under way."""
        return self._demand.cached_tokens

    def explain(self) -> str:
        """Describe the active subnet, the latest decision, each forecast, and a budget that no subnet meets."""
        lines = [super().explain()]
        latest = self._controller.decisions.latest
        if latest is not None and latest.reason is Reason.NO_FIT_SMALLEST:
            lines += [_unmet(latest, self._policy)]
        return "\n".join(lines)

    def cancel(self) -> None:
        """End every text under way after its present token."""
        self._demand.cancel_all()

    def after_fork(self) -> None:
        """Leave the parent's sessions and texts alone in a forked process."""
        super().after_fork()
        self._demand.abandon()

    def close(self) -> None:
        """End every text under way after its present token, then drop the sessions.

        Further texts raise SessionClosed. Within a token (in a signal handler, say) or in ``on_decision`` it returns
        at once, and that happens later.
        """
        if not self._demand.end_all(CLOSING_S):
            self._controller.stop_runs()
        super().close()


def _policy(
    policy: Policy | None,
    max_first_token_ms: float | None,
    min_tokens_per_s: float | None,
    max_memory_mb: float | None,
) -> Policy:
    budgets = (max_first_token_ms, min_tokens_per_s, max_memory_mb)
    if policy is not None:
        if any(budget is not None for budget in budgets):
            raise InputError("budgets are given twice: by themselves and in policy; give them in policy alone")
        return policy
    if min_tokens_per_s is not None and not (is_real(min_tokens_per_s) and 0 < min_tokens_per_s < math.inf):
        raise InputError(f"min_tokens_per_s is {min_tokens_per_s!r}; expected a positive number, or None for no budget")
    token_ms = None if min_tokens_per_s is None else 1e3 / min_tokens_per_s
    return Policy(token_ms, max_memory_mb, max_first_token_ms)


def _unmet(record: DecisionRecord, policy: Policy) -> str:
    """Return a line with the budgets, and the forecast of the subnet that serves without meeting them."""
    budgets, expected = [], []
    forecast = next((forecast for forecast in record.expected if forecast.subnet == record.subnet), None)
    if policy.max_latency_ms is not None:
        budgets += [f"{1e3 / policy.max_latency_ms:.4g} tokens a second"]
        expected += [f"{1e3 / forecast.p95_ms:.4g} tokens a second"] if forecast and forecast.p95_ms else []
    if policy.max_first_token_ms is not None:
        budgets += [f"a first token in {policy.max_first_token_ms:.4g} ms"]
        expected += (
            [f"a first token in {forecast.first_token_ms:.4g} ms"] if forecast and forecast.first_token_ms else []
        )
    if policy.max_memory_mb is not None:
        budgets += [f"{policy.max_memory_mb:.4g} MB"]
        expected += [f"{forecast.memory_mb:.4g} MB"] if forecast else []
    budgets += [f"the limit of {reading.limit.sensor}" for reading in record.limits if reading.is_crossed]
    line = f"no subnet keeps to {', '.join(budgets) or 'what the machine has'}: {record.subnet}, the smallest, serves"
    return f"{line}, with {', '.join(expected)} expected" if expected else line


def _warm_up(session: OnnxSession) -> None:
    """Run a prompt and a token: the arena never returns what the first ones took.

    Raises:
        LoadError: they fail.
    """
    try:
        steps = StepRunner(
            cast("StepSession", session), Cache(heads_of(session.get_inputs()), capacity=4), run_options()
        )
        steps.run([0, 0])
        steps.run([0])
    except Exception as error:  # onnxruntime's share no base class
        raise LoadError(f"it answers nothing: {next(iter(str(error).splitlines()), type(error).__name__)}") from error
