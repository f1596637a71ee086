"""Clouds on loopback: they speak a provider's published API, boot real machines, and bill."""

from rackrate.testing.clouds.cloud import Cloud, Exchange, Ground, Stock
from rackrate.testing.clouds.faults import Faults
from rackrate.testing.clouds.runpod import RunPodCloud
from rackrate.testing.clouds.vast import VastCloud

__all__ = ["Cloud", "Exchange", "Faults", "Ground", "RunPodCloud", "Stock", "VastCloud"]
