"""Exchange rates of the European Central Bank, one a working day, as Frankfurter serves them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date

from rackrate.market.collect.base import Answer, Asking, LayoutChanged, Request, money
from rackrate.market.collect.rates import RateCollector

_CURRENCIES = "EUR,GBP,INR,CHF,CAD,AUD,JPY,SEK,NOK,PLN"


class Ecb(RateCollector):
    """Today's reference rates against the dollar."""

    name = "ecb"
    title = "ECB exchange rates"
    hosts = ("https://api.frankfurter.dev",)
    page = "https://www.ecb.europa.eu/stats/policy_and_exchange_rates/euro_reference_exchange_rates/"
    units = "units of a currency for one of `base`"
    licence = "ECB statistics, free to use with their source"
    credit = "European Central Bank reference rates"

    def requests(self, keys: Mapping[str, str]) -> Asking:
        """Ask for the newest rates."""
        del keys
        params = {"base": "USD", "symbols": _CURRENCIES}
        yield Request("latest", "https://api.frankfurter.dev/v1/latest", params=params)

    def rates(self, answers: Sequence[Answer]) -> list[tuple[str, date, float]]:
        """Return the USD for one unit of each currency."""
        found = []
        for answer in answers:
            said = answer.json()
            day, table = date.fromisoformat(said["date"]), dict(said["rates"])
            for_one = 1.0 if said["base"] == "USD" else money(table.get("USD"), "the rate of USD")
            table[said["base"]] = 1.0
            for code, rate in table.items():
                units = money(rate, f"the rate of {code}")
                if units <= 0:
                    raise LayoutChanged(f"the rate of {code} is {units}")
                if code != "USD":
                    found.append((str(code), day, for_one / units))
        return found


COLLECTOR = Ecb()
