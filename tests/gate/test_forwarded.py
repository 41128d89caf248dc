"""Who really asks: the person behind proxies that the settings trust, and nobody whom anybody may have invented."""

from __future__ import annotations

from typing import Any

import pytest
from structlog.testing import capture_logs

from emeterai.gate.addresses import BLOCK_TIMES, Addresses, address_of, is_of_this_machine, networks_of
from emeterai.gate.forwarded import Forwarded, asked_from, proxies_of
from emeterai.infra.networks import tell_of_unnamed_proxy
from emeterai.infra.settings import SettingsError

PROXIES = proxies_of("10.0.0.0/8, 2001:db8:ffff::1")
HOME = "198.51.100.7"


@pytest.mark.parametrize(
    ("peer", "chain", "expected"),
    [
        ("10.0.0.1", [HOME], HOME),
        ("::ffff:10.0.0.1", [HOME], HOME),
        ("2001:db8:ffff::1", ["203.0.113.1", HOME, "10.0.0.2"], HOME),
        ("10.0.0.1", ["127.0.0.1", HOME], HOME),
        (HOME, ["203.0.113.1"], HOME),
        ("2001:db8:ffff::2", ["203.0.113.1"], "2001:db8:ffff::2"),
        ("10.0.0.1", [], "10.0.0.1"),
        ("10.0.0.1", [""], "10.0.0.1"),
        ("10.0.0.1", [HOME, "unknown"], "10.0.0.1"),
        ("10.0.0.1", ["10.0.0.3", "10.0.0.2"], "10.0.0.3"),
        ("", [HOME], ""),
    ],
)
def test_only_what_a_trusted_proxy_wrote_is_believed(peer: str, chain: list[str], expected: str) -> None:
    """From the last one backwards: whoever stands before the first that is not ours may have written the rest."""
    assert expected == asked_from(peer, chain, PROXIES)


def passed_on(address: str, **headers: str) -> str:
    """Where a request seems to come from that this machine passes on."""
    lines = [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()]
    scope: Any = {"type": "http", "client": (address, 80), "headers": lines}
    return address_of(scope)


@pytest.mark.parametrize("header", ["x_forwarded_for", "forwarded", "x_real_ip", "via"])
def test_an_unnamed_proxy_of_this_machine_is_told_once(header: str) -> None:
    """All behind it are one address, and the operator hears which setting helps; others say nothing."""
    tell_of_unnamed_proxy.cache_clear()
    with capture_logs() as logs:
        assert ["127.0.0.1", HOME] == [passed_on("127.0.0.1"), passed_on(HOME, **{header: "203.0.113.1"})]
        assert [] == logs
        addresses = {passed_on(peer, **{header: f"203.0.113.{peer[-1]}"}) for peer in ("127.0.0.1", "::1", "127.0.0.2")}
    assert (1, 1) == (len(addresses), len(logs))
    assert ("error", "EMETERAI_TRUSTED_PROXIES") == (logs[0]["log_level"], logs[0]["setting"])
    assert HOME != addresses.pop()


def test_what_the_operator_asks_through_his_own_proxy_is_no_error() -> None:
    """A check of health on this very machine, at a service whose settings are right, alarms nobody."""
    tell_of_unnamed_proxy.cache_clear()
    with capture_logs() as logs:
        assert passed_on("127.0.0.1", x_forwarded_for="127.0.0.1, ::1") == passed_on("127.0.0.1", via="1.1 x")
    assert 1 == len(logs)
    tell_of_unnamed_proxy.cache_clear()
    with capture_logs() as logs:
        passed_on("127.0.0.1", x_forwarded_for="127.0.0.1")
    assert [] == logs


def test_without_settings_nobody_is_believed() -> None:
    """Also not this machine or a private network."""
    for peer in ("127.0.0.1", "10.0.0.1", HOME):
        assert peer == asked_from(peer, ["203.0.113.1"], proxies_of(""))


@pytest.mark.parametrize("text", ["proxy.example", "10.0.0.0/33", "10.0.0.1/8"])
def test_a_setting_that_names_no_address_stops_the_start(text: str) -> None:
    """In words."""
    with pytest.raises(SettingsError, match="EMETERAI_TRUSTED_PROXIES"):
        proxies_of(f"10.0.0.1,{text}")


async def test_all_that_is_wrapped_sees_the_person() -> None:
    """Of several headers all count, in their order; whoever has no address at all gets none invented."""
    seen: list[Any] = []

    async def app(scope: Any, _receive: Any, _send: Any) -> None:
        seen.append(scope["client"])

    headers = [(b"x-forwarded-for", b"203.0.113.1, 192.0.2.1"), (b"x-forwarded-for", f"{HOME},10.0.0.2".encode())]
    scope: Any = {"type": "http", "client": ("10.0.0.1", 80), "headers": headers}
    nothing: Any = None
    scopes: list[Any] = [scope, {**scope, "client": None}, {"type": "lifespan", "client": "as it is"}]
    for one in scopes:
        await Forwarded(app, PROXIES)(one, nothing, nothing)
    assert [(HOME, 80), ("", 0), "as it is"] == seen


def scope_of(address: str, *names: bytes) -> Any:
    """A request from an address with these headers."""
    return {"type": "http", "client": (address, 80), "headers": [(name, b"203.0.113.1") for name in names]}


def test_what_this_machine_passes_on_for_others_is_not_of_this_machine() -> None:
    """A proxy that the settings do not name: whoever comes through it is bounded, all together."""
    for name in (b"x-forwarded-for", b"forwarded"):
        assert not is_of_this_machine(address_of(scope_of("127.0.0.1", name)))
        assert address_of(scope_of("127.0.0.1", name)) == address_of(scope_of("::1", name))
    assert is_of_this_machine(address_of(scope_of("127.0.0.1", b"host")))
    assert HOME == address_of(scope_of(HOME, b"x-forwarded-for"))
    unknown = scope_of(HOME)
    unknown["client"] = None
    assert "" == address_of(unknown)


def test_an_address_is_a_household_and_a_block_is_a_customer() -> None:
    """IPv6 by the /64 and the /48, IPv4 in either form and by the /24; private networks are like all others."""
    found = [networks_of(one) for one in ("2001:db8::1", "2001:db8::2:3", "2001:db8:0:1::1", "2001:db8:1::1")]
    assert found[0][0] == found[1][0] != found[2][0]
    assert found[0][1] == found[2][1] != found[3][1]
    assert networks_of("198.51.100.7") == networks_of("::ffff:198.51.100.7") != networks_of("198.51.100.8")
    assert networks_of("10.2.3.4")[1] == networks_of("10.2.3.5")[1] != networks_of("10.2.4.4")[1]
    assert (("unix", 1),) == networks_of("unix")
    assert [True, True, False] == [is_of_this_machine(one) for one in ("127.0.0.9", "::ffff:127.0.0.1", "10.2.3.4")]


def test_a_block_takes_no_more_than_some_addresses_might() -> None:
    """Whoever has 65,536 IPv6 networks has not so many times as much."""
    bounds = Addresses(at_once=10, per_s=1)
    taken = sum(bounds.take(networks_of(f"2001:db8:0:{host:x}::1"), 0.0) == 0 for host in range(1_000) for _ in "ab")
    assert 200 == taken
    assert 0 == bounds.take(networks_of("2001:db8:9::1"), 0.0)
    assert 1 / 20 == bounds.take(networks_of("2001:db8:0:2000::1"), 0.0)


def test_whom_the_block_refuses_has_used_up_nothing() -> None:
    """As soon as the block has one again, so has the address, whose own would take ten times as long."""
    bounds = Addresses(at_once=1, per_s=1)
    crowd = {bounds.take(networks_of(f"198.51.100.{host}"), 0.0) for host in range(BLOCK_TIMES)}
    late = networks_of("198.51.100.200")
    assert ({0.0}, 1 / BLOCK_TIMES) == (crowd, bounds.take(late, 0.0))
    assert 0.0 == bounds.take(late, 0.1)
    assert 0.9 == pytest.approx(bounds.take(late, 0.2))
