"""The next token from the logits: greedy or sampled, under a grammar, with its probability."""

from __future__ import annotations

import ctypes
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from agentkit.models.local.errors import GenerationFailed

if TYPE_CHECKING:
    from numpy import float32
    from numpy.typing import NDArray

    Logits = NDArray[float32]

_CANDIDATE = [("id", "<i4"), ("logit", "<f4"), ("p", "<f4")]
_RANDOM_SEED = 0xFFFFFFFF
_RUNNERS_UP = 16


@dataclass(frozen=True, kw_only=True, slots=True)
class Sampling:
    """How tokens are chosen; temperature 0 is greedy. `seed` None differs on every call."""

    temperature: float = 0.0
    top_p: float = 1.0
    seed: int | None = None


GREEDY = Sampling()


@dataclass(frozen=True, kw_only=True, slots=True)
class Choice:
    """A chosen token. Both figures are of the distribution before any grammar, in nats.

    `margin` is the distance to the best other token: negative where the grammar or chance
    overruled the model's first choice. `runner_up` is the likeliest other token that the grammar
    permits, with its logprob, where it was asked for.
    """

    token: int
    logprob: float
    margin: float
    runner_up: tuple[int, float] | None = None


class Grammar:
    """A GBNF grammar that follows one generation."""

    def __init__(self, library: Any, vocab: Any, source: str) -> None:
        self._library = library
        self._sampler = library.llama_sampler_init_grammar(vocab, source.encode(), b"root")
        if not self._sampler:
            raise GenerationFailed("llama.cpp refused the grammar made from the tools' schemas")

    def permitted(self, tokens: Sequence[int], logits: Any) -> Any:
        """`logits` with those of tokens that may not come next at minus infinity."""
        import numpy as np

        candidates = np.zeros(len(tokens), np.dtype(_CANDIDATE))
        candidates["id"] = tokens
        candidates["logit"] = logits
        array = _token_array(self._library, candidates)
        self._library.llama_sampler_apply(self._sampler, ctypes.byref(array))
        return candidates["logit"]

    def permits(self, token: int) -> bool:
        """True where `token` may come next."""
        import numpy as np

        return bool(np.isfinite(self.permitted([token], [0.0])[0]))

    def accept(self, token: int) -> None:
        """Go on past `token`, which must be permitted: llama.cpp ends the process otherwise."""
        self._library.llama_sampler_accept(self._sampler, token)

    def close(self) -> None:
        """Free the grammar; harmless twice."""
        if self._sampler:
            self._library.llama_sampler_free(self._sampler)
            self._sampler = None


class Sampler:
    """Chooses the tokens of one generation."""

    def __init__(
        self, library: Any, sampling: Sampling, *, runner_up_below: float | None = None
    ) -> None:
        """Choices whose logprob is lower than `runner_up_below` come with their runner-up."""
        self._library = library
        self._chain = _chain(library, sampling) if sampling.temperature > 0 else None
        self._runner_up_below = runner_up_below

    def choose(
        self, logits: Logits, *, grammar: Grammar | None = None, banned: Collection[int] = ()
    ) -> Choice | None:
        """The next token; None where the grammar permits none."""
        import numpy as np

        top = float(logits.max())
        if not np.isfinite(top):
            raise GenerationFailed("the model computes no numbers; its weights are damaged")
        log_sum = top + float(np.log(np.exp(logits - top).sum()))
        open_logits = logits
        if banned:
            open_logits = logits.copy()
            open_logits[list(banned)] = -np.inf
        token = self._pick(open_logits, grammar)
        if token is None:
            return None
        chosen = float(logits[token])
        runner_up = None
        unsure = self._runner_up_below is not None and chosen - log_sum < self._runner_up_below
        if grammar is not None:
            runner_up = _runner_up(open_logits, token, grammar, log_sum) if unsure else None
            grammar.accept(token)
        return Choice(
            token=token,
            logprob=chosen - log_sum,
            margin=chosen - _best_other(logits, token),
            runner_up=runner_up,
        )

    def close(self) -> None:
        """Free what was allocated; harmless twice."""
        if self._chain is not None:
            self._library.llama_sampler_free(self._chain)
            self._chain = None

    def _pick(self, logits: Logits, grammar: Grammar | None) -> int | None:
        import numpy as np

        """Ask the grammar about one token first; about all of them only where it objects.

        That changes nothing in how likely each token is, and a large vocabulary takes long to ask.
        """
        token = self._draw(logits)
        if grammar is None or grammar.permits(token):
            return token
        permitted = grammar.permitted(range(len(logits)), logits)
        return self._draw(permitted) if np.isfinite(permitted).any() else None

    def _draw(self, logits: Logits) -> int:
        import numpy as np

        if self._chain is None:
            return int(logits.argmax())
        tokens = np.flatnonzero(np.isfinite(logits))
        candidates = np.zeros(len(tokens), np.dtype(_CANDIDATE))
        candidates["id"] = tokens
        candidates["logit"] = logits[tokens]
        array = _token_array(self._library, candidates)
        self._library.llama_sampler_apply(self._chain, ctypes.byref(array))
        return int(array.data[array.selected].id)


def _best_other(logits: Logits, token: int) -> float:
    best = 0.0
    if len(logits) > 1:
        import numpy as np

        second, first = np.partition(logits, -2)[-2:]
        best = float(second if logits[token] == first else first)
    return best


def _runner_up(
    logits: Logits, token: int, grammar: Grammar, log_sum: float
) -> tuple[int, float] | None:
    """The likeliest permitted token but `token`, if it is among the likeliest few of all."""
    import numpy as np

    count = min(_RUNNERS_UP, len(logits))
    few = np.argpartition(logits, -count)[-count:]
    few = few[(few != token) & np.isfinite(logits[few])]
    permitted = grammar.permitted(few.tolist(), logits[few])
    if not np.isfinite(permitted).any():
        return None
    best = int(permitted.argmax())
    return int(few[best]), float(permitted[best]) - log_sum


def _token_array(library: Any, candidates: Any) -> Any:
    data = candidates.ctypes.data_as(ctypes.POINTER(library.llama_token_data))
    return library.llama_token_data_array(
        data=data, size=len(candidates), selected=-1, sorted=False
    )


def _chain(library: Any, sampling: Sampling) -> Any:
    chain = library.llama_sampler_chain_init(library.llama_sampler_chain_default_params())
    seed = _RANDOM_SEED if sampling.seed is None else sampling.seed % _RANDOM_SEED
    if sampling.top_p < 1:
        library.llama_sampler_chain_add(chain, library.llama_sampler_init_top_p(sampling.top_p, 1))
    library.llama_sampler_chain_add(chain, library.llama_sampler_init_temp(sampling.temperature))
    library.llama_sampler_chain_add(chain, library.llama_sampler_init_dist(seed))
    return chain
