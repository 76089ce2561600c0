"""One GGUF model in memory with one KV cache, shared by all conversations of this process."""

from __future__ import annotations

import contextlib
import ctypes
import threading
import time
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

from agentkit.models.local import binding
from agentkit.models.local.errors import GenerationFailed, ModelSettingsInvalid, ModelUnsupported
from agentkit.models.local.slots import Claim, Slot, SlotTable

if TYPE_CHECKING:
    from agentkit.models.local.sampling import Logits

_BATCH_TOKENS = 512
_POLL_SECONDS = 0.02
_CONTROL = 1 << 3  # llama_token_attr
_NO_ROOM = 1  # llama_decode: no cells for the batch


@dataclass(frozen=True, kw_only=True, slots=True)
class EngineSettings:
    """What makes an engine: two models with equal settings share one.

    `stamp` tells one content of the file from the next.
    `kv_tokens` are shared by up to `sequences` conversations; `threads` work on one token.
    """

    path: str
    stamp: tuple[int, int]
    kv_tokens: int
    sequences: int
    threads: int
    gpu_layers: int = 0


@dataclass(frozen=True, kw_only=True, slots=True)
class EngineCounters:
    """What an engine did so far."""

    tokens_evaluated: int = 0
    tokens_reused: int = 0
    eval_seconds: float = 0.0


class Cancelled(Exception):
    """The caller gave up while the engine was at work."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Lease:
    """A sequence lent to one generation; `reused_tokens` of its prompt need no evaluation."""

    slot: Slot
    reused_tokens: int


class LlamaEngine:
    """Evaluates tokens for many conversations, each keeping its own prefix in the KV cache.

    Safe under threads: one batch is evaluated at a time, and generations take turns token by token.
    The file must have passed `check_gguf`. Raises ModelUnsupported where llama.cpp refuses it.
    """

    def __init__(self, settings: EngineSettings) -> None:
        self.settings = settings
        self.library = binding.llama_cpp()
        self._lock = threading.Lock()
        self._freed = threading.Condition(self._lock)
        self._counters = EngineCounters()
        self._model = self._load_model()
        self.vocab: Any = self.library.llama_model_get_vocab(self._model)
        self.vocab_size: int = self.library.llama_vocab_n_tokens(self.vocab)
        self._context = self._make_context()
        self._memory = self.library.llama_get_memory(self._context)
        self._batch = self.library.llama_batch_init(_BATCH_TOKENS, 0, 1)
        self._slots = SlotTable(sequences=settings.sequences, cells=settings.kv_tokens)
        self._closed = False

    @property
    def counters(self) -> EngineCounters:
        """A snapshot of what was evaluated and reused."""
        with self._lock:
            return self._counters

    @cached_property
    def bos_text(self) -> str:
        """The text of the token that begins a prompt, or an empty string."""
        return self._special_text(self.library.llama_vocab_bos(self.vocab))

    @cached_property
    def eos_text(self) -> str:
        """The text of the token that ends an answer, or an empty string."""
        return self._special_text(self.library.llama_vocab_eos(self.vocab))

    @cached_property
    def control_texts(self) -> tuple[str, ...]:
        """Texts that become control tokens when they stand in a prompt, the longest first."""
        attribute = self.library.llama_vocab_get_attr
        found = (
            self.piece(token).decode("utf-8", "ignore")
            for token in range(self.vocab_size)
            if attribute(self.vocab, token) & _CONTROL
        )
        return tuple(sorted({text for text in found if len(text) > 1}, key=len, reverse=True))

    @cached_property
    def bos_token(self) -> int | None:
        """The token that every prompt of this model must begin with, where there is one."""
        wanted = self.library.llama_vocab_get_add_bos(self.vocab)
        token = self.library.llama_vocab_bos(self.vocab)
        return int(token) if wanted and token >= 0 else None

    def tokenize(self, text: str, *, special: bool) -> list[int]:
        """Tokens of `text`; `special` lets control tokens be recognised in it."""
        data = text.encode("utf-8", "replace")
        size = len(data) + 16
        while True:
            tokens = (self.library.llama_token * size)()
            count = self.library.llama_tokenize(
                self.vocab, data, len(data), tokens, size, False, special
            )
            if count >= 0:
                return list(tokens[:count])
            size = -count

    def piece(self, token: int) -> bytes:
        """The bytes of one token, control tokens included."""
        size = 64
        while True:
            buffer = ctypes.create_string_buffer(size)
            count = self.library.llama_token_to_piece(self.vocab, token, buffer, size, 0, True)
            if count >= 0:
                return buffer.raw[:count]
            size = -count

    def ends(self, token: int) -> bool:
        """True for a token with which the model ends its turn."""
        return bool(self.library.llama_vocab_is_eog(self.vocab, token))

    def resident(self) -> dict[str, int]:
        """Tokens kept in the KV cache for each named conversation."""
        with self._lock:
            return self._slots.resident()

    @contextlib.contextmanager
    def lease(
        self,
        prompt: Sequence[int],
        *,
        reserve_tokens: int,
        conversation: str | None,
        cancelled: Callable[[], bool],
    ) -> Generator[Lease]:
        """A sequence for `prompt` and its answer, `reserve_tokens` in all.

        Waits while other generations hold all of them. Raises Cancelled when the caller gives up.
        """
        with self._freed:
            claim = self._wait_for_claim(prompt, reserve_tokens, conversation, cancelled)
            reused = self._apply(claim)
            self._count(reused=reused)
        try:
            yield Lease(slot=claim.slot, reused_tokens=reused)
        finally:
            with self._freed:
                self._slots.release(claim.slot)
                self._freed.notify_all()

    def evaluate(
        self, slot: Slot, tokens: Sequence[int], *, cancelled: Callable[[], bool]
    ) -> Logits:
        """The logits after `tokens`, which follow what `slot` already holds."""
        for start in range(0, len(tokens), _BATCH_TOKENS):
            if cancelled():
                raise Cancelled
            chunk = tokens[start : start + _BATCH_TOKENS]
            last = start + len(chunk) == len(tokens)
            with self._lock:
                self._require_open()
                self._decode(slot, chunk, logits=last)
                if last:
                    return self._logits()
        raise ValueError("nothing to evaluate")

    def close(self) -> None:
        """Free the model. Generations under way fail with GenerationFailed; harmless twice."""
        with self._freed:
            if self._closed:
                return
            self._closed = True
            self.library.llama_batch_free(self._batch)
            self.library.llama_free(self._context)
            self.library.llama_model_free(self._model)
            self._freed.notify_all()

    def _load_model(self) -> Any:
        library, settings = self.library, self.settings
        parameters = library.llama_model_default_params()
        parameters.n_gpu_layers = settings.gpu_layers
        parameters.check_tensors = False
        binding.forget_errors()
        model = library.llama_model_load_from_file(settings.path.encode(), parameters)
        if not model:
            raise ModelUnsupported(
                f"llama.cpp cannot run {settings.path} "
                f"({binding.first_error() or 'no reason given'}); "
                "use a GGUF file for text generation of an architecture that it knows, "
                "or install a newer llama-cpp-python"
            )
        if not library.llama_model_has_decoder(model) or library.llama_model_has_encoder(model):
            library.llama_model_free(model)
            raise ModelUnsupported(f"{settings.path} writes no text; use a decoder-only model")
        return model

    def _make_context(self) -> Any:
        library, settings = self.library, self.settings
        parameters = library.llama_context_default_params()
        parameters.n_ctx = settings.kv_tokens
        parameters.n_batch = parameters.n_ubatch = min(_BATCH_TOKENS, settings.kv_tokens)
        parameters.n_seq_max = settings.sequences
        parameters.kv_unified = True
        parameters.n_threads = parameters.n_threads_batch = settings.threads
        parameters.no_perf = True
        binding.forget_errors()
        context = library.llama_init_from_model(self._model, parameters)
        if not context:
            library.llama_model_free(self._model)
            raise ModelSettingsInvalid(
                f"llama.cpp cannot hold {settings.kv_tokens} tokens of {settings.path} "
                f"({binding.first_error() or 'no reason given'}); lower n_ctx or kv_tokens"
            )
        return context

    def _wait_for_claim(
        self,
        prompt: Sequence[int],
        reserve_tokens: int,
        conversation: str | None,
        cancelled: Callable[[], bool],
    ) -> Claim:
        if reserve_tokens > self.settings.kv_tokens:
            raise ModelSettingsInvalid(
                f"a request of {reserve_tokens} tokens never fits {self.settings.kv_tokens} cells; "
                "raise kv_tokens"
            )
        while True:
            self._require_open()
            if cancelled():
                raise Cancelled
            claim = self._slots.claim(
                prompt, conversation=conversation, reserve_tokens=reserve_tokens
            )
            if claim is not None:
                return claim
            self._freed.wait(_POLL_SECONDS)

    def _apply(self, claim: Claim) -> int:
        """Bring the KV cache to what the claim promises; the number of tokens really reused."""
        slot, reused = claim.slot, claim.reused_tokens
        if claim.copy_from is not None:
            self._remove(slot.index, 0)
            self.library.llama_memory_seq_cp(self._memory, claim.copy_from, slot.index, 0, reused)
        elif not self._remove(slot.index, reused):
            self._remove(slot.index, 0)  # recurrent models cannot forget a part
            reused = 0
            slot.tokens = []
        for index in claim.evicted:
            self._remove(index, 0)
        return reused

    def _remove(self, sequence: int, start: int) -> bool:
        return bool(self.library.llama_memory_seq_rm(self._memory, sequence, start, -1))

    def _decode(self, slot: Slot, tokens: Sequence[int], *, logits: bool) -> None:
        batch, position = self._batch, len(slot.tokens)
        batch.n_tokens = len(tokens)
        for index, token in enumerate(tokens):
            batch.token[index] = token
            batch.pos[index] = position + index
            batch.n_seq_id[index] = 1
            batch.seq_id[index][0] = slot.index
            batch.logits[index] = int(logits and index == len(tokens) - 1)
        started = time.perf_counter()
        status = self.library.llama_decode(self._context, batch)
        if status != 0:
            self._remove(slot.index, 0)
            self._slots.forget(slot)
            reason = "its KV cache is full" if status == _NO_ROOM else f"status {status}"
            raise GenerationFailed(f"llama.cpp could not evaluate {len(tokens)} tokens: {reason}")
        slot.tokens.extend(tokens)
        self._count(evaluated=len(tokens), seconds=time.perf_counter() - started)

    def _logits(self) -> Logits:
        import numpy as np

        row = self.library.llama_get_logits_ith(self._context, -1)
        return np.ctypeslib.as_array(row, shape=(self.vocab_size,)).copy()

    def _count(self, *, evaluated: int = 0, reused: int = 0, seconds: float = 0.0) -> None:
        now = self._counters
        self._counters = replace(
            now,
            tokens_evaluated=now.tokens_evaluated + evaluated,
            tokens_reused=now.tokens_reused + reused,
            eval_seconds=now.eval_seconds + seconds,
        )

    def _require_open(self) -> None:
        if self._closed:
            raise GenerationFailed("the model was closed")

    def _special_text(self, token: int) -> str:
        return self.piece(token).decode("utf-8", "replace") if token >= 0 else ""
