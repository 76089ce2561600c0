"""Chargeback in the columns of FOCUS 1.2, the FinOps open cost and usage specification.

One row per day, model, tags asked for, and meter. What nobody here can know (an invoice's id, a
region) is null, as the specification allows; nothing is invented. Columns of our own begin with
`x_`: whether a price is unknown, and whether a charge is a worst case. https://focus.finops.org/focus-specification/v1-2/
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Literal

from agentkit.budgets.journal_query import EVERYTHING, CallSums, JournalFilter
from agentkit.budgets.money import plain_usd, usd_from_nusd
from agentkit.budgets.price import PriceBook, Rates
from agentkit.budgets.store import Store
from agentkit.reports.rollup import NO_VALUE, ReportRow, report

Allows = Literal["value", "null"]

COLUMNS: dict[str, Allows] = {
    "AvailabilityZone": "null",
    "BilledCost": "value",
    "BillingAccountId": "value",
    "BillingAccountName": "null",
    "BillingAccountType": "value",
    "BillingCurrency": "value",
    "BillingPeriodEnd": "value",
    "BillingPeriodStart": "value",
    "CapacityReservationId": "null",
    "CapacityReservationStatus": "null",
    "ChargeCategory": "value",
    "ChargeClass": "null",
    "ChargeDescription": "null",
    "ChargeFrequency": "value",
    "ChargePeriodEnd": "value",
    "ChargePeriodStart": "value",
    "CommitmentDiscountCategory": "null",
    "CommitmentDiscountId": "null",
    "CommitmentDiscountName": "null",
    "CommitmentDiscountQuantity": "null",
    "CommitmentDiscountStatus": "null",
    "CommitmentDiscountType": "null",
    "CommitmentDiscountUnit": "null",
    "ConsumedQuantity": "null",
    "ConsumedUnit": "null",
    "ContractedCost": "value",
    "ContractedUnitPrice": "null",
    "EffectiveCost": "value",
    "InvoiceId": "null",
    "InvoiceIssuerName": "value",
    "ListCost": "value",
    "ListUnitPrice": "null",
    "PricingCategory": "null",
    "PricingCurrency": "null",
    "PricingCurrencyContractedUnitPrice": "null",
    "PricingCurrencyEffectiveCost": "null",
    "PricingCurrencyListUnitPrice": "null",
    "PricingQuantity": "null",
    "PricingUnit": "null",
    "ProviderName": "value",
    "PublisherName": "value",
    "RegionId": "null",
    "RegionName": "null",
    "ResourceId": "null",
    "ResourceName": "null",
    "ResourceType": "null",
    "ServiceCategory": "value",
    "ServiceName": "value",
    "ServiceSubcategory": "value",
    "SkuId": "null",
    "SkuMeter": "null",
    "SkuPriceDetails": "null",
    "SkuPriceId": "null",
    "SubAccountId": "null",
    "SubAccountName": "null",
    "SubAccountType": "null",
    "Tags": "null",
}
"""The columns of version 1.2, and whether each may be null."""
OWN_COLUMNS = ("x_CostSource", "x_PriceUnknown", "x_WorstCase", "x_Calls")
DEFAULT_TAGS = ("feature", "team", "project", "environment")
_METERS = ("Input", "Cache Read", "Cache Write 5m", "Cache Write 1h", "Output")
_KEYS = ("day", "model", "source", "confirmed")
_NO_ACCOUNT = "agentkit"


def focus_rows(
    store: Store,
    prices: PriceBook,
    *,
    tags: Sequence[str] = DEFAULT_TAGS,
    where: JournalFilter = EVERYTHING,
) -> Iterator[dict[str, str | None]]:
    """The rows, each with all columns of FOCUS 1.2 and our own; their BilledCost sums to the
    ledger's total to the nano-dollar.

    A call's cost is recorded whole, so that it is divided among its meters by the rates that
    `prices` has now.
    """
    for row in report(store, (*_KEYS, *tags), where):
        yield from _rows_of(row, dict(zip(tags, row.values[len(_KEYS) :], strict=True)), prices)


def focus_csv(rows: Iterable[Mapping[str, str | None]]) -> str:
    """The rows as CSV with a header; null is an empty field."""
    out = io.StringIO()
    writer = csv.DictWriter(out, [*COLUMNS, *OWN_COLUMNS], lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return out.getvalue()


def _rows_of(
    row: ReportRow, tags: Mapping[str, str], prices: PriceBook
) -> Iterator[dict[str, str | None]]:
    day, model, source, confirmed = row.values[: len(_KEYS)]
    provider, _, name = model.partition(":")
    price = prices.price(name, provider)
    rates = price.bands[0][1] if price.bands else None
    tokens = _tokens(row.sums)
    costs = _divided(row.sums.cost_nusd, tokens, rates)
    common = _common(day, provider, name, {k: v for k, v in tags.items() if v != NO_VALUE})
    for place, meter in enumerate(_METERS):
        if not tokens[place] and not costs[place]:
            continue
        cost = plain_usd(usd_from_nusd(costs[place]))
        rate = None if rates is None or source == "unknown" else _rates(rates)[place]
        unit = None if rate is None else plain_usd(usd_from_nusd(rate).scaleb(-6))
        yield {
            **common,
            "BilledCost": cost, "EffectiveCost": cost, "ListCost": cost, "ContractedCost": cost,
            "ChargeDescription": f"{meter} tokens of {model}",
            "ConsumedQuantity": str(tokens[place]), "PricingQuantity": str(tokens[place]),
            "ListUnitPrice": unit, "ContractedUnitPrice": unit,
            "SkuId": model, "SkuMeter": f"{meter} Tokens", "SkuPriceId": f"{model}/{meter}",
            "x_CostSource": source,
            "x_PriceUnknown": "true" if source == "unknown" else "false",
            "x_WorstCase": "false" if confirmed == "1" else "true",
            "x_Calls": str(row.sums.calls),
        }  # fmt: skip


def _common(day: str, provider: str, model: str, tags: Mapping[str, str]) -> dict[str, str | None]:
    start = datetime.fromisoformat(day).replace(tzinfo=UTC)
    month = start.replace(day=1)
    next_month = (month + timedelta(days=32)).replace(day=1)
    where = provider or "unknown"
    known: dict[str, str] = {
        "BillingAccountId": _NO_ACCOUNT, "BillingAccountType": "Ledger", "BillingCurrency": "USD",
        "BillingPeriodStart": _time(month), "BillingPeriodEnd": _time(next_month),
        "ChargeCategory": "Usage", "ChargeFrequency": "Usage-Based",
        "ChargePeriodStart": _time(start), "ChargePeriodEnd": _time(start + timedelta(days=1)),
        "ConsumedUnit": "Tokens", "PricingUnit": "Tokens", "PricingCategory": "Standard",
        "InvoiceIssuerName": where, "ProviderName": where, "PublisherName": where,
        "ResourceId": model or "unknown", "ResourceName": model or "unknown",
        "ResourceType": "Model", "ServiceCategory": "AI and Machine Learning",
        "ServiceSubcategory": "Generative AI", "ServiceName": f"{where} models",
        "Tags": json.dumps(tags, sort_keys=True, ensure_ascii=False),
    }  # fmt: skip
    if "team" in tags:
        known |= {"SubAccountId": tags["team"], "SubAccountName": tags["team"]}
        known["SubAccountType"] = "Team"
    return {**dict.fromkeys(COLUMNS, None), **known}


def _divided(cost_nusd: int, tokens: Sequence[int], rates: Rates | None) -> list[int]:
    """`cost_nusd` over the meters by what each costs; the last one with tokens takes the rest."""
    weights = [
        count * (rate if rates is not None else 1)
        for count, rate in zip(tokens, _rates(rates), strict=True)
    ]
    whole = sum(weights)
    if not whole:
        return [*(0,) * (len(tokens) - 1), cost_nusd]
    shares = [cost_nusd * weight // whole for weight in weights]
    last = max(place for place, weight in enumerate(weights) if weight)
    shares[last] += cost_nusd - sum(shares)
    return shares


def _tokens(sums: CallSums) -> list[int]:
    return [
        sums.fresh_input_tokens, sums.cache_read_tokens, sums.cache_write_5m_tokens,
        sums.cache_write_1h_tokens, sums.output_tokens,
    ]  # fmt: skip


def _rates(rates: Rates | None) -> tuple[int, ...]:
    if rates is None:
        return (0,) * len(_METERS)
    return (
        rates.input, rates.cache_read, rates.cache_write_5m, rates.cache_write_1h, rates.output
    )  # fmt: skip


def _time(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")
