"""Structured data for search engines (schema.org): only what the page says in words too."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rackrate.report.dossier import Dossier


def product(dossier: Dossier) -> dict[str, Any]:
    """Return a GPU as a product with the range of its on-demand offers."""
    gpu, spread = dossier.gpu, dossier.price.spread
    found: dict[str, Any] = {
        "@context": "https://schema.org",
        "@type": "Product",
        "name": gpu.name,
        "sku": gpu.slug,
        "category": gpu.segment,
        "brand": {"@type": "Brand", "name": gpu.vendor},
    }
    if spread:
        found["offers"] = {
            "@type": "AggregateOffer",
            "priceCurrency": "USD",
            "lowPrice": round(spread.cheapest[1], 4),
            "highPrice": round(spread.dearest[1], 4),
            "offerCount": spread.n,
        }
    return found


def breadcrumbs(crumbs: Sequence[tuple[str, str]], title: str, address: str) -> dict[str, Any]:
    """Return the way to a page."""
    items = [*crumbs, (title, "")]
    return {
        "@context": "https://schema.org",
        "@type": "BreadcrumbList",
        "itemListElement": [
            {
                "@type": "ListItem",
                "position": at,
                "name": name,
                **({"item": address + path} if path else {}),
            }
            for at, (name, path) in enumerate(items, 1)
        ],
    }
