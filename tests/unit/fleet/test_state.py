"""The life of a fleet, told in scenes: what is done, and what is never done."""

from __future__ import annotations

import sys
from collections.abc import Sequence

import pytest

from rackrate.errors import InvalidTransition
from rackrate.fleet.budget import Budget
from rackrate.fleet.event import (
    Action,
    Closed,
    Create,
    Created,
    CreateFailed,
    Destroy,
    Destroyed,
    DestroyFailed,
    Ended,
    Event,
    Grant,
    Listed,
    OwnerSeen,
    Refuse,
    Renewed,
    Scaled,
    Tick,
    Worked,
)
from rackrate.fleet.ledger import Rate
from rackrate.fleet.node import Change, Node, NodeState
from rackrate.fleet.state import Lifecycle, Phase, Policy

ONE, TWO, THREE = (f"rr-x-{n}" for n in (1, 2, 3))


class Scene:
    """A fleet whose owner is seen at every instant that something happens, unless told otherwise."""

    def __init__(self, policy: Policy | None = None) -> None:
        self.life = Lifecycle("x", policy or Policy())
        self.has_owner = True

    def at(self, at_s: float, *events: Event) -> list[Action]:
        """Let events happen at an instant; return what is to be done."""
        if self.has_owner:
            events = (OwnerSeen(), *events)
        return [action for event in events for action in self.life.handle(event, at_s).actions]

    def listed(self, at_s: float, *names: str) -> list[Action]:
        return self.at(at_s, Listed(frozenset(names), at_s))

    def up(self, n: int, at_s: float = 0) -> None:
        """Bring up so many nodes at once."""
        self.at(at_s, Scaled(n))
        for name in self.names(NodeState.INTENT):
            self.at(at_s, Created(name), Renewed(name, is_ready=True))

    def names(self, *states: NodeState) -> list[str]:
        return [node.name for node in self.life.in_states(states)]

    def state(self, name: str) -> NodeState:
        return self.life.nodes[name].state


def test_a_node_goes_through_its_life_and_keeps_its_story() -> None:
    scene = Scene()
    assert scene.at(0, Scaled(1)) == [Create(ONE)]
    scene.at(1, Created(ONE))
    assert scene.at(2, Renewed(ONE)) == [Grant(ONE, 10, is_draining=False)]
    scene.at(3, Renewed(ONE, is_ready=True))
    assert scene.at(4, Closed("the block is left")) == [Destroy(ONE)]
    scene.listed(5)
    assert scene.life.phase is Phase.CLOSED
    states = [str(change.state) for change in scene.life.nodes[ONE].story]
    assert states == ["intent", "requested", "booted", "ready", "ending", "gone"]
    assert scene.life.nodes[ONE].story[4].why == "the fleet closes: the block is left"


def test_changes_come_with_the_step_that_made_them_and_once() -> None:
    life = Lifecycle("x", Policy())
    first, second = life.handle(Scaled(2), 0), life.handle(Tick(), 1)
    assert [(change.node, change.state) for change in first.changes] == [(ONE, "intent"), (TWO, "intent")]
    assert (second.changes, second.actions) == ((), ())


@pytest.mark.parametrize(
    "events",
    [
        [Renewed(ONE), Created(ONE), Renewed(ONE, is_ready=True)],
        [Renewed(ONE, is_ready=True), Created(ONE), Created(ONE)],
        [Renewed(ONE, is_ready=True), Renewed(ONE)],
    ],
    ids=["home before the answer", "ready before the answer", "an old question last"],
)
def test_events_out_of_order_come_to_the_same(events: Sequence[Event]) -> None:
    scene = Scene()
    scene.at(0, Scaled(1))
    scene.at(1, *events)
    assert scene.state(ONE) is NodeState.READY


def test_a_renewal_that_changes_nothing_costs_the_same_however_many_nodes_there_are() -> None:
    def n_calls(n_nodes: int) -> int:
        life = Lifecycle("x", Policy(rate=Rate(1), budget=Budget(10**9, 12)))
        life.handle(Scaled(n_nodes), 0)
        life.handle(Renewed(ONE, is_ready=True), 1)
        calls = []
        sys.setprofile(lambda _frame, event, _arg: calls.append(event))
        life.handle(Renewed(ONE, is_ready=True), 2)
        sys.setprofile(None)
        return len(calls)

    assert n_calls(1000) == n_calls(1)


def test_a_node_that_never_called_home_is_told_from_one_whose_worker_does_not_start() -> None:
    scene = Scene()
    scene.at(0, Scaled(2))
    scene.at(1, Created(ONE), Created(TWO), Renewed(TWO))
    for at_s in range(2, 61):
        scene.at(at_s, Renewed(TWO))
    assert scene.life.nodes[ONE].story[-1].why == "not ready after 60 s: it never called home"
    assert scene.life.nodes[TWO].story[-1].why == "not ready after 60 s"


def test_a_grant_is_never_longer_than_the_owners_own_lease() -> None:
    scene = Scene()
    scene.up(1)
    scene.has_owner = False
    assert scene.at(4, Renewed(ONE)) == [Grant(ONE, 6, is_draining=False)]
    assert scene.at(9.5, Renewed(ONE)) == [Grant(ONE, 0.5, is_draining=False)]
    assert Refuse(ONE, "the owner is silent") in scene.at(10, Renewed(ONE))
    scene.at(10, Tick())
    assert scene.life.why == "the owner is silent"


def test_an_owner_who_comes_back_too_late_finds_the_fleet_closed() -> None:
    scene = Scene()
    scene.up(1)
    assert scene.at(11) == [Destroy(ONE)]
    assert scene.life.phase is Phase.CLOSING
    assert Refuse(ONE, "the fleet closes: the owner is silent") in scene.at(11.5, Renewed(ONE))


@pytest.mark.parametrize(
    ("policy", "at_s", "why"),
    [
        (Policy(idle_s=300), 300, "idle"),
        (Policy(longest_s=3600), 3600, "its time is over"),
        (Policy(rate=Rate(3_600_000_000), budget=Budget(100_000_000, 20)), 81, "the budget is committed"),
    ],
)
def test_a_fleet_ends_by_itself(policy: Policy, at_s: int, why: str) -> None:
    scene = Scene(policy)
    scene.up(1)
    for second in range(1, at_s):
        assert Destroy(ONE) not in scene.at(second, Renewed(ONE))
    scene.at(at_s)
    assert (scene.life.phase, scene.life.why) == (Phase.CLOSING, why)


def test_work_puts_idleness_off() -> None:
    scene = Scene(Policy(idle_s=5))
    scene.at(4, Worked())
    scene.at(8)
    assert scene.life.phase is Phase.OPEN
    scene.at(9)
    assert scene.life.why == "idle"


def test_a_fleet_that_boots_is_not_idle() -> None:
    scene = Scene(Policy(idle_s=5, boot_timeout_s=60))
    scene.at(0, Scaled(1), Created(ONE))
    for second in range(5, 55, 5):
        scene.listed(second, ONE)
    assert scene.life.phase is Phase.OPEN
    scene.at(55, Renewed(ONE, is_ready=True))
    scene.at(59, Renewed(ONE))
    assert scene.life.phase is Phase.OPEN
    scene.at(60, Renewed(ONE))
    assert scene.life.why == "idle"


def test_a_budget_for_two_nodes_orders_two_and_says_so() -> None:
    scene = Scene(Policy(rate=Rate(1_000_000, least_s=3600), budget=Budget(2_500_000)))
    assert scene.at(0, Scaled(5)) == [Create(ONE), Create(TWO)]
    assert scene.life.remark == "the budget allows no more nodes"
    assert scene.life.ledger.microusd(0) == 2_000_000


def test_fewer_nodes_drain_those_that_have_nothing_to_do_first() -> None:
    scene = Scene()
    scene.up(3)
    scene.at(1, Scaled(1, busy=frozenset({TWO})))
    assert scene.names(NodeState.READY) == [TWO]
    assert scene.names(NodeState.DRAINING) == [ONE, THREE]


def test_fewer_nodes_drain_the_newest_and_first_those_that_do_not_work_yet() -> None:
    scene = Scene()
    scene.up(2)
    scene.at(1, Scaled(3), Created(THREE))
    assert scene.at(2, Scaled(1)) == [Destroy(THREE)]
    assert scene.names(NodeState.DRAINING) == [TWO]
    assert scene.at(2.5, Renewed(TWO)) == [Grant(TWO, 10, is_draining=True)]
    scene.listed(2.5, ONE, TWO)
    assert scene.at(4, Ended(TWO, "its worker has finished")) == [Destroy(TWO)]
    assert scene.names(NodeState.READY) == [ONE]


def test_a_node_that_does_not_drain_is_ended() -> None:
    scene = Scene(Policy(drain_timeout_s=5))
    scene.up(1)
    scene.at(1, Scaled(0))
    assert scene.at(5.9, Renewed(ONE)) == [Grant(ONE, 10, is_draining=True)]
    assert scene.at(6) == [Destroy(ONE)]


def test_a_lost_node_is_replaced_under_a_new_name() -> None:
    scene = Scene()
    scene.up(1)
    assert scene.listed(5) == [Create(TWO), Destroy(ONE)]
    scene.at(6, Created(TWO), Renewed(TWO, is_ready=True))
    scene.listed(7, TWO)
    assert [scene.state(ONE), scene.state(TWO)] == [NodeState.GONE, NodeState.READY]


def test_a_node_that_is_silent_for_its_lease_is_replaced() -> None:
    scene = Scene()
    scene.up(2)
    for at_s in (5, 9):
        scene.at(at_s, Renewed(TWO))
    assert scene.at(10) == [Create(THREE), Destroy(ONE)]
    assert Refuse(ONE, "silent for the length of its lease") in scene.at(10.1, Renewed(ONE))


def test_a_boot_that_never_calls_home_is_destroyed_and_tried_again_later() -> None:
    scene = Scene(Policy(ttl_s=60, boot_timeout_s=30, retry_s=2))
    scene.at(0, Scaled(1), Created(ONE))
    scene.listed(29, ONE)
    assert scene.listed(30, ONE) == [Destroy(ONE)]
    assert scene.life.remark == "the next order waits: one has failed"
    assert scene.listed(32, ONE) == [Create(TWO), Destroy(ONE)]


def test_boots_that_fail_in_a_row_end_the_fleet() -> None:
    scene = Scene(Policy(most_failures=2, retry_s=1))
    scene.at(0, Scaled(1), CreateFailed(ONE, "no capacity", is_certain=True))
    scene.at(1)
    scene.at(1, CreateFailed(TWO, "no capacity", is_certain=True))
    assert scene.life.why == "nodes do not come up"
    scene.listed(3)
    assert scene.life.phase is Phase.CLOSED


def test_a_fleet_whose_account_cannot_pay_is_over_at_the_first_order() -> None:
    scene = Scene(Policy(most_failures=3, retry_s=8))
    scene.at(0, Scaled(2), CreateFailed(ONE, "no money", is_certain=True, is_final=True))
    assert scene.life.why == "nodes do not come up"
    assert scene.names(NodeState.INTENT) == []


def test_a_fleet_that_was_up_outlives_a_provider_without_capacity() -> None:
    scene = Scene(Policy(most_failures=2, retry_s=1))
    scene.up(3)
    assert scene.life.is_up

    def refused(at_s: float) -> int:
        """Refuse whatever is ordered; return how many orders that were."""
        done = scene.at(at_s, Listed(frozenset({ONE}), at_s), Renewed(ONE, is_ready=True))
        orders = [one.node for one in done if isinstance(one, Create)]
        scene.at(at_s, *[CreateFailed(name, "no capacity", is_certain=True) for name in orders])
        return len(orders)

    assert [refused(at_s) for at_s in range(1, 13)] == [2, 0, 1, 0, 0, 1, 0, 0, 0, 1, 0, 0]
    assert (scene.life.phase, scene.state(ONE)) == (Phase.OPEN, NodeState.READY)
    assert scene.life.remark == "5 nodes in a row did not come up: one at a time is tried"
    assert scene.life.is_up  # who waits for more waits in vain
    (tried,) = scene.at(15, Renewed(ONE, is_ready=True))[:1]
    assert isinstance(tried, Create)
    *_, more = scene.at(15, Created(tried.node), Renewed(tried.node, is_ready=True))
    assert isinstance(more, Create)
    assert not scene.life.is_up


def test_a_fleet_ends_when_nothing_works_any_more_and_nothing_comes_up() -> None:
    scene = Scene(Policy(most_failures=2, retry_s=1))
    scene.up(1)
    scene.listed(1)
    for at_s in range(1, 6):
        tried = scene.names(NodeState.INTENT)
        scene.at(at_s, *[CreateFailed(name, "no capacity", is_certain=True) for name in tried])
    assert scene.life.why == "nodes do not come up"


def test_a_destroy_is_asked_for_until_the_provider_lists_the_node_no_more() -> None:
    scene = Scene(Policy(retry_s=3))
    scene.up(1)
    assert scene.at(1, Closed("done")) == [Destroy(ONE)]
    assert [len(scene.listed(at_s, ONE)) for at_s in (2, 3, 4, 5, 6, 7)] == [0, 0, 1, 0, 0, 1]
    scene.listed(8)
    assert scene.life.phase is Phase.CLOSED


def test_a_listing_that_lags_does_not_prove_that_a_node_is_gone() -> None:
    scene = Scene(Policy(settle_s=10))
    scene.up(1)
    scene.listed(1)  # the provider is behind: the node does not show yet
    assert scene.state(ONE) is NodeState.READY
    scene.at(2, Closed("done"))
    scene.listed(3)
    scene.listed(11)
    assert scene.state(ONE) is NodeState.ENDING
    scene.listed(12)
    assert scene.state(ONE) is NodeState.GONE


def test_an_order_that_nobody_answered_is_not_gone_before_it_is_too_old_to_appear() -> None:
    scene = Scene(Policy(boot_timeout_s=20, retry_s=100))
    scene.at(0, Scaled(1), CreateFailed(ONE, "500 Internal Server Error", is_certain=False), Scaled(0))
    scene.listed(5)
    assert scene.state(ONE) is NodeState.ENDING
    scene.listed(6, ONE)  # it was made after all
    scene.listed(21)
    assert scene.state(ONE) is NodeState.GONE


def test_an_overtaken_listing_says_nothing() -> None:
    scene = Scene()
    scene.up(1)
    scene.listed(5, ONE)
    scene.at(6, Listed(frozenset(), 4))
    assert scene.state(ONE) is NodeState.READY


def test_a_node_without_an_intent_is_destroyed_and_its_name_not_used_again() -> None:
    scene = Scene()
    assert scene.listed(1, ONE) == [Destroy(ONE)]
    assert scene.at(1.5, Renewed(ONE)) == [Refuse(ONE, "listed, but in no journal")]
    assert Create(TWO) in scene.at(3, Scaled(1))
    assert Refuse("rr-y-9", "unknown to this fleet") in scene.at(4, Renewed("rr-y-9"))


def test_a_node_that_is_listed_again_after_it_was_gone_is_destroyed_again_and_billed() -> None:
    scene = Scene(Policy(rate=Rate(3_600_000)))
    scene.up(1)
    scene.at(1, Closed("done"))
    scene.listed(2)
    assert scene.life.ledger.microusd(100) == 2000
    assert scene.listed(5, ONE) == [Destroy(ONE)]
    assert scene.life.ledger.microusd(100) == 100_000


def test_after_a_crash_of_its_keeper_a_fleet_can_only_end() -> None:
    before = Lifecycle("x", Policy())
    changes = [change for event in (Scaled(3), Created(ONE)) for change in before.handle(event, 0).changes]
    life = Lifecycle.recovered("x", Policy(boot_timeout_s=5), changes, 60)
    step = life.handle(Listed(frozenset({ONE, "rr-x-9"}), 60), 60)
    assert {action.node for action in step.actions if isinstance(action, Destroy)} == {
        *before.nodes,
        "rr-x-9",
    }
    life.handle(Scaled(5), 61)
    assert not any(isinstance(action, Create) for action in life.handle(Tick(), 62).actions)
    life.handle(Listed(frozenset(), 70), 70)
    assert life.phase is Phase.CLOSED


def test_a_step_that_does_not_follow_is_an_error_that_tells_the_story() -> None:
    node = Node(ONE, Rate())
    node.begin(0, "1 nodes are wanted")
    node.move(NodeState.ENDING, 2, "no capacity")
    with pytest.raises(InvalidTransition, match="cannot go from ending to ready") as caught:
        node.move(NodeState.READY, 3, "its worker works")
    assert caught.value.story == ("0.0 s intent: 1 nodes are wanted", "2.0 s ending: no capacity")


def test_what_was_asked_too_early_is_asked_again_then_and_is_no_failure() -> None:
    scene = Scene(Policy(most_failures=1, retry_s=1))
    assert scene.at(0, Scaled(1)) == [Create(ONE)]
    assert scene.at(0, CreateFailed(ONE, "429", is_certain=True, again_s=7)) == [Destroy(ONE)]
    assert scene.life.phase is Phase.OPEN
    scene.listed(1)
    assert scene.at(6.9) == []
    assert scene.at(7) == [Create(TWO)]


HOUR = Rate(3_600_000)
"""A thousand micro-dollars a second, so that bills are read as seconds."""


def billed_s(scene: Scene, name: str, at_s: float = 1000.0) -> float:
    return scene.life.nodes[name].line().microusd(at_s) / 1000


def test_a_node_is_billed_until_the_provider_says_that_it_destroys_it() -> None:
    scene = Scene(Policy(settle_s=30, rate=HOUR))
    scene.up(1)
    scene.at(10, Closed("enough"))
    scene.at(11, Destroyed(ONE))
    scene.listed(12)
    scene.listed(45)
    assert (scene.state(ONE), billed_s(scene, ONE)) == (NodeState.GONE, 11)


def test_a_provider_that_lies_about_it_is_believed_only_the_last_time() -> None:
    scene = Scene(Policy(settle_s=30, rate=HOUR))
    scene.up(1)
    scene.at(10, Closed("enough"))
    scene.at(11, Destroyed(ONE))
    scene.listed(20, ONE)
    scene.at(21, Destroyed(ONE))
    scene.listed(22)
    scene.listed(60)
    assert (scene.state(ONE), billed_s(scene, ONE)) == (NodeState.GONE, 21)


@pytest.mark.parametrize(
    "events",
    [
        [(2, Destroyed(ONE, 2)), (3, Created(ONE, 0)), (6, Destroyed(ONE, 6))],
        [(3, Created(ONE, 0)), (4, Destroyed(ONE, 2)), (6, Destroyed(ONE, 6))],
    ],
)
def test_who_is_asked_to_destroy_what_is_still_being_made_ends_no_bill(
    events: list[tuple[float, Event]],
) -> None:
    scene = Scene(Policy(settle_s=30, rate=HOUR))
    scene.at(0, Scaled(1))
    scene.at(1, Closed("enough"))
    for at_s, event in events:
        scene.at(at_s, event)
    scene.listed(7)
    scene.listed(40)
    assert (scene.state(ONE), billed_s(scene, ONE)) == (NodeState.GONE, 6)


def test_a_node_that_was_refused_and_never_seen_costs_nothing() -> None:
    scene = Scene(Policy(settle_s=30, rate=HOUR))
    scene.at(0, Scaled(1), CreateFailed(ONE, "no capacity", is_certain=True), Scaled(0))
    scene.listed(1)
    scene.listed(40)
    assert (scene.state(ONE), billed_s(scene, ONE)) == (NodeState.GONE, 0)


def test_refused_orders_take_nothing_of_the_budget_while_their_end_is_waited_for() -> None:
    scene = Scene(Policy(settle_s=30, rate=HOUR, budget=Budget(20_000, exposure_s=5)))
    for at_s in range(10):
        name = f"rr-x-{at_s + 1}"
        scene.at(at_s, Scaled(1))
        scene.at(at_s, CreateFailed(name, "too often", is_certain=True, again_s=1))
    assert (scene.life.phase, len(scene.life.nodes)) == (Phase.OPEN, 10)
    assert scene.life.ledger.microusd(9) == 0


def test_a_refusal_is_known_to_who_reads_the_journal() -> None:
    scene = Scene(Policy(settle_s=30, rate=HOUR))
    scene.at(0, Scaled(1), CreateFailed(ONE, "no capacity", is_certain=True), Scaled(0))
    story = [Change.from_dict(change.to_dict()) for change in scene.life.nodes[ONE].story]
    assert Lifecycle.recovered("x", Policy(rate=HOUR), story, 100).ledger.microusd(100) == 0


def test_a_node_that_was_refused_but_is_listed_is_billed() -> None:
    scene = Scene(Policy(settle_s=30, rate=HOUR))
    scene.at(0, Scaled(1), CreateFailed(ONE, "no capacity", is_certain=True), Scaled(0))
    scene.listed(1, ONE)
    scene.at(2, Destroyed(ONE))
    scene.listed(3)
    scene.listed(40)
    assert (scene.state(ONE), billed_s(scene, ONE)) == (NodeState.GONE, 2)


def test_what_a_node_costs_survives_the_journal() -> None:
    scene = Scene(Policy(settle_s=30, rate=HOUR))
    scene.up(1)
    scene.at(10, Closed("enough"))
    scene.at(11, Destroyed(ONE))
    scene.listed(12)
    scene.listed(45)
    story = [Change.from_dict(change.to_dict()) for change in scene.life.nodes[ONE].story]
    again = Lifecycle.recovered("x", Policy(rate=HOUR), story, 100)
    assert again.nodes[ONE].line().microusd(1000) == 11_000


def lost_order(scene: Scene) -> None:
    """Order a node, hear that it went wrong, and give it up; nobody knows whether there is one."""
    scene.at(0, Scaled(1), CreateFailed(ONE, "500", is_certain=False), Scaled(0))


def test_an_order_without_an_answer_of_which_nothing_was_ever_seen_costs_nothing() -> None:
    scene = Scene(Policy(settle_s=5, boot_timeout_s=20, retry_s=100, rate=HOUR))
    lost_order(scene)
    scene.at(1, Destroyed(ONE, 1, is_found=False))
    scene.listed(2)
    assert billed_s(scene, ONE, 10) == 10  # until that is certain, the budget counts it
    for at_s in (10, 20, 30):
        scene.listed(at_s)
    assert (scene.state(ONE), billed_s(scene, ONE)) == (NodeState.GONE, 0)
    assert scene.life.ledger.most_microusd(1000) == 0


def test_an_order_without_an_answer_that_was_carried_out_is_billed_though_no_listing_had_it() -> None:
    scene = Scene(Policy(settle_s=5, boot_timeout_s=20, retry_s=100, rate=HOUR))
    lost_order(scene)
    scene.at(1, Destroyed(ONE, 1, is_found=False))  # the listing lags
    scene.at(4, Destroyed(ONE, 4, is_found=True))
    for at_s in (10, 20, 30):
        scene.listed(at_s)
    assert (scene.state(ONE), billed_s(scene, ONE)) == (NodeState.GONE, 4)
    assert scene.life.ledger.least_microusd() == 0  # nobody knows what it did


def test_whether_there_was_a_node_is_not_said_before_who_destroyed_it_has_answered() -> None:
    scene = Scene(Policy(settle_s=5, boot_timeout_s=20, retry_s=100, rate=HOUR))
    lost_order(scene)
    for at_s in (2, 10, 20, 30):
        scene.listed(at_s)
    assert scene.state(ONE) is NodeState.ENDING
    scene.at(31, DestroyFailed(ONE))
    scene.listed(32)
    assert (scene.state(ONE), billed_s(scene, ONE)) == (NodeState.GONE, 32)  # it may have been


def test_a_machine_that_went_by_itself_is_billed_to_the_first_listing_without_it() -> None:
    scene = Scene(Policy(settle_s=30, rate=HOUR, ttl_s=100))
    scene.up(1)
    scene.listed(5, ONE)
    scene.listed(10)
    scene.listed(41)
    scene.at(42, Destroyed(ONE, 42, is_found=False))
    scene.listed(43)
    scene.listed(80)
    assert (scene.state(ONE), billed_s(scene, ONE)) == (NodeState.GONE, 10)


def test_a_bill_lies_between_what_was_heard_and_what_was_answered_and_the_journal_keeps_that() -> None:
    scene = Scene(Policy(settle_s=5, rate=HOUR))
    scene.at(0, Scaled(1))
    scene.at(2, Created(ONE))
    scene.at(4, Renewed(ONE, is_ready=True))
    scene.at(8, Renewed(ONE))
    scene.at(10, Closed("enough"))
    scene.at(11, Destroyed(ONE, 11))
    scene.listed(12)
    scene.listed(20)
    story = [Change.from_dict(change.to_dict()) for change in scene.life.nodes[ONE].story]
    for life in (scene.life, Lifecycle.recovered("x", Policy(rate=HOUR), story, 100)):
        assert (life.ledger.least_microusd(), life.ledger.most_microusd(1000)) == (6_000, 11_000)


def test_a_machine_that_calls_after_it_was_said_to_be_destroyed_is_billed_till_then() -> None:
    scene = Scene(Policy(settle_s=5, rate=HOUR))
    scene.up(1)
    scene.at(5, Closed("enough"))
    scene.at(6, Destroyed(ONE, 6))
    scene.at(8, Renewed(ONE))
    scene.listed(9)
    scene.listed(20)
    assert billed_s(scene, ONE) == 8


def test_who_did_not_look_for_longer_than_a_lease_does_not_know_that_there_was_no_machine() -> None:
    scene = Scene(Policy(settle_s=5, boot_timeout_s=20, retry_s=100, rate=HOUR, ttl_s=10))
    lost_order(scene)
    scene.at(1, Destroyed(ONE, 1, is_found=False))
    for at_s in (2, 13, 20, 30):
        scene.listed(at_s)
    assert (scene.state(ONE), billed_s(scene, ONE)) == (NodeState.GONE, 1)
    assert scene.life.ledger.least_microusd() == 0
