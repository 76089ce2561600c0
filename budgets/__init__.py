"""Usage, money, prices, limits and the ledger that holds them."""
