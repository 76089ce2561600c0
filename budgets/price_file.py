"""A file of the user's own prices (TOML), read before the built-in table."""

from __future__ import annotations

import tomllib
from datetime import date
from decimal import Decimal
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from agentkit.budgets.errors import InvalidLimit
from agentkit.budgets.price import Price, nusd_per_mtok, rates_of

_LARGEST_FILE_BYTES = 1_000_000
_UsdPerMtok = Field(default=None, ge=0, le=1_000_000)


class PriceOverride(BaseModel):
    """One model's price: USD per million tokens of each class, or `free = true`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    model: str = Field(min_length=1)
    provider: str | None = None
    free: bool = False
    input: Decimal | None = _UsdPerMtok
    output: Decimal | None = _UsdPerMtok
    cache_read: Decimal | None = _UsdPerMtok
    cache_write_5m: Decimal | None = _UsdPerMtok
    cache_write_1h: Decimal | None = _UsdPerMtok
    priced_on: date | None = None

    @model_validator(mode="after")
    def _priced_or_free(self) -> PriceOverride:
        if not self.free and (self.input is None or self.output is None):
            raise ValueError("give both input and output in USD per million tokens, or free = true")
        return self

    def matches(self, model: str, provider: str) -> bool:
        """True where this override is for `model` of `provider`."""
        return self.model == model and self.provider in (None, provider)

    def price(self, model: str, provider: str) -> Price:
        """The compiled price."""
        if self.free or self.input is None or self.output is None:
            return Price(model=model, provider=provider, state="free", source="override")
        rates = rates_of(
            input=nusd_per_mtok(self.input),
            output=nusd_per_mtok(self.output),
            cache_read=_optional(self.cache_read),
            cache_write_5m=_optional(self.cache_write_5m),
            cache_write_1h=_optional(self.cache_write_1h),
        )
        return Price(
            model=model,
            provider=provider,
            state="priced",
            source="override",
            bands=((0, rates),),
            writes_by_itself=provider != "anthropic",
            priced_on=self.priced_on,
        )


class _PriceFile(BaseModel):
    model_config = ConfigDict(extra="forbid")

    price: list[PriceOverride] = []


def read_price_file(path: str | Path) -> tuple[PriceOverride, ...]:
    """The overrides in the `[[price]]` tables of the TOML file at `path`.

    Raises InvalidLimit, naming the file and the entry, where it cannot be read or understood.
    """
    try:
        raw = Path(path).read_bytes()
        if len(raw) > _LARGEST_FILE_BYTES:
            raise InvalidLimit(f"prices file {str(path)!r} is over 1 MB; is it the right file?")
        return tuple(_PriceFile.model_validate(tomllib.loads(raw.decode())).price)
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise InvalidLimit(f"prices file {str(path)!r} cannot be read: {error}") from error
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise InvalidLimit(f"prices file {str(path)!r}, {where}: {first['msg']}") from error


def _optional(usd: Decimal | None) -> int | None:
    return None if usd is None else nusd_per_mtok(usd)
