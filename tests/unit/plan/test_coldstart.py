"""Until the first result, and what spot costs: worked out by hand."""

from __future__ import annotations

import pytest

from rackrate.plan.coldstart import reclaims, start, way_to_users_s


def test_weights_wait_for_the_slowest_of_disk_network_and_host_link() -> None:
    found = start("aws", "US", 100 * 1e9 / 2**30, 31.5e9)
    # 100 GB at 1.25 GB/s; booted in 30 s at AWS, image in 350 s
    assert (found.boot_s, found.image_s, found.slowest) == (30, 350, "network")
    assert found.load_s == pytest.approx(80)
    assert found.total_s == pytest.approx(460)
    assert found.egress_usd == 0
    slow = start("aws", "US", 100 * 1e9 / 2**30, 1e9)  # one lane: 0.43 GB/s
    assert slow.slowest == "host link"
    assert slow.load_s == pytest.approx(100 / 0.43)


def test_a_store_in_another_country_is_slower_and_costs_its_traffic() -> None:
    found = start("nowhere", "DE", 50 * 1e9 / 2**30, 31.5e9, "US")
    assert found.load_s == pytest.approx(200)  # 50 GB at 0.25 GB/s
    assert found.egress_usd == pytest.approx(4.5)  # 50 GB at 0.09
    assert start("nowhere", "US", 50.0, 31.5e9, "US").egress_usd == 0


def test_the_interval_between_checkpoints_is_youngs() -> None:
    # 1 reclaim in 1,000 h, 20 s a checkpoint: sqrt(2 x 20 x 3.6e6) = 12,000 s
    found = reclaims(300, 20, 1e-3)
    assert found.interval_s == pytest.approx(12_000)
    assert found.lost_frac == pytest.approx((300 + 6000) / 3.6e6 + 20 / 12_000)
    nearby = [  # no other interval loses less
        (300 + t / 2) / 3.6e6 + 20 / t for t in (6_000, 11_000, 13_000, 24_000)
    ]
    assert found.lost_frac < min(nearby)
    assert reclaims(300, 0, 1e-3).lost_frac == pytest.approx(300 / 3.6e6)  # a server has no checkpoint


def test_the_way_to_users_grows_with_distance() -> None:
    assert way_to_users_s("DE", "") == 0
    assert way_to_users_s("DE", "DE") < way_to_users_s("FR", "DE") < way_to_users_s("US", "DE")
    assert way_to_users_s("", "DE") == way_to_users_s("US", "DE")  # a place that nobody names is far
