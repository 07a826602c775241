"""What an address says of who can be behind it."""

from __future__ import annotations

import ipaddress


def is_loopback(host: str) -> bool:
    """Can only this machine be reached at `host`, or reach a server there?

    >>> is_loopback("127.0.0.1"), is_loopback("::1"), is_loopback("localhost"), is_loopback("0.0.0.0")
    (True, True, True, False)
    """
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def network_of(address: str) -> str:
    """What counts as one address where limits are by address: of IPv6 the /64, all of which one subscriber has.

    >>> [network_of(each) for each in ("192.0.2.1", "2001:db8::7", "fe80::1%eth0", "::ffff:192.0.2.1", "no address")]
    ['192.0.2.1', '2001:db8::/64', 'fe80::/64', '192.0.2.1', 'no address']
    """
    if ":" not in address:
        return address[:64]
    try:
        parsed = ipaddress.IPv6Address(address.partition("%")[0])
    except ValueError:
        return address[:64]
    if parsed.ipv4_mapped is not None:
        return str(parsed.ipv4_mapped)
    return str(ipaddress.IPv6Network((parsed, 64), strict=False))
