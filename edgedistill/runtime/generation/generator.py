"""Prompts in, texts out, token by token, by whichever subnet fits at each of them."""

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
from edgedistill.runtime.control.decide import Policy, Reason
from edgedistill.runtime.control.loop import CLOSING_S
from edgedistill.runtime.decisions import DecisionRecord
from edgedistill.runtime.generation.active_text import ActiveText
from edgedistill.runtime.generation.cache import Cache, heads_of
from edgedistill.runtime.generation.demand import Demand
from edgedistill.runtime.generation.generation_costs import STEP, generation_costs
from edgedistill.runtime.generation.messages import Message
from edgedistill.runtime.generation.prompts import Prompt, Prompts, generation_of
from edgedistill.runtime.generation.steps import StepRunner
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
    """Before the interpreter ends: texts that nobody reads on hold subnets, whose end would be waited for."""
    for generator in list(_running):
        generator.close()


class TextGenerator(Serving):
    """Generates text with a palette's subnets, and changes them in mid-text. All methods may be called from any thread.

    At each token the subnet that serves is asked for. Where that has changed, the new one reads the tokens so far, and
    what comes is what it alone would have gone on with: at once where memory, a budget, heat or a failure calls for it
    or a pin does, and for quality or speed alone once that is worth the time (`moving`). Each text has a cache of its
    own, which counts as memory of the subnet that serves. A subnet that fails is left for the smallest in mid-text.

    Args:
        palette: its folder, or what `manifest.load` gave. Every file's SHA-256 is checked.
        max_first_token_ms: budget for the 95th percentile of reading a prompt; None for no budget. A text whose prompt
            the subnet that serves is not expected to read in time begins on the smallest.
        min_tokens_per_s: budget for nineteen of twenty tokens after the first; None for no budget. Where not even the
            smallest subnet keeps it, that one serves, and `explain` says so.
        max_memory_mb: budget for all subnets in memory together with all caches, in 10⁶ bytes; None for no budget.
        policy: budgets with everything else that `Policy` has, in place of the three before; its ``max_latency_ms`` is
            of one token.
        digest: the one that the palette must have, as `AdaptiveSession` has it.
        options: ``threads``, ``interval_s``, ``profile``, ``only``, ``on_decision``, ``sensors``, ``create`` and
            ``clock``, as `AdaptiveSession` has them.

    Raises:
        PaletteError: the palette is damaged, is not for generation, or has no profile or no subnet of that name.
        InputError: an option is out of its range.
        OnnxruntimeMissing: no onnxruntime.
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
        """The whole text that follows a prompt; the options and errors are those of `stream`."""
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
        """The text that follows a prompt, piece by piece; it begins when its first piece is asked for.

        Args:
            prompt: a text, or its token ids.
            max_new_tokens: how many to generate at most; what the context leaves beside the prompt, if that is less.
            temperature: 0 for the likeliest token each time; else what logits are divided by before a draw.
            top_k: how many of the likeliest tokens may be drawn; None for all.
            top_p: of these the fewest, from the likeliest on, that hold this share of the probability; None for all.
            seed: of the draws; None for other ones each time.
            stop: texts that end it, and are left out.

        Raises:
            InputError: the prompt is empty or too long, or an option is out of its range.
            GenerationError: with a piece: a subnet failed, and no other in memory could go on.
            SessionClosed: with the first piece: after `close`.
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
            pieces=self._prompts.pieces(ids),
            stops=stops,
            ends=generation.eos_token_ids,
            most=most,
            clock=self._clock,
        )
        return Stream(writer, self)

    def chat(self, messages: Sequence[Message], **options: Any) -> Generated:
        """The assistant's next message; the options and errors are those of `stream`, and of `chat_prompt`."""
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
        """The token ids that a prompt is read as: with `Generated.token_ids` behind them, a prompt to go on with.

        Raises:
            InputError: the prompt is empty or too long.
        """
        return self._prompts.ids(prompt)

    @property
    def cached_tokens(self) -> int:
        """Tokens that the caches of all texts under way have room for."""
        return self._demand.cached_tokens

    def explain(self) -> str:
        """In words: what serves, the last decision and why, what was expected of each, and a budget that none keeps."""
        lines = [super().explain()]
        latest = self._controller.decisions.latest
        if latest is not None and latest.reason is Reason.NO_FIT_SMALLEST:
            lines += [_unmet(latest, self._policy)]
        return "\n".join(lines)

    def cancel(self) -> None:
        """End every text under way after the token that it is at."""
        self._demand.cancel_all()

    def after_fork(self) -> None:
        """Leave the parent's sessions and texts alone, in a process that was forked."""
        super().after_fork()
        self._demand.abandon()

    def close(self) -> None:
        """End every text under way after the token that it is at, then drop the sessions.

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
    """One line: the budgets, and what is expected of the subnet that serves although it does not keep them."""
    asked, expected = [], []
    found = next((one for one in record.expected if one.subnet == record.subnet), None)
    if policy.max_latency_ms is not None:
        asked += [f"{1e3 / policy.max_latency_ms:.4g} tokens a second"]
        expected += [f"{1e3 / found.p95_ms:.4g} tokens a second"] if found and found.p95_ms else []
    if policy.max_first_token_ms is not None:
        asked += [f"a first token in {policy.max_first_token_ms:.4g} ms"]
        expected += [f"a first token in {found.first_token_ms:.4g} ms"] if found and found.first_token_ms else []
    if policy.max_memory_mb is not None:
        asked += [f"{policy.max_memory_mb:.4g} MB"]
        expected += [f"{found.memory_mb:.4g} MB"] if found else []
    asked += [f"the limit of {reading.limit.sensor}" for reading in record.limits if reading.is_crossed]
    line = f"no subnet keeps to {', '.join(asked) or 'what the machine has'}: {record.subnet}, the smallest, serves"
    return f"{line}, with {', '.join(expected)} expected" if expected else line


def _warm_up(session: OnnxSession) -> None:
    """A prompt and a token: the arena never gives back what the first ones took.

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
