"""What an order book and its trades say beyond the best prices: pressure, depth in vega, and how fast depth comes back.

The functions of `measures` look at one book, or at two that follow each other. `Microstructure`, in `tracker`, keeps
the recent past of many instruments, fed with events. Nothing here prices: a vega comes from a snapshot's row. Whatever
cannot be said, for want of a side, a trade or a vega, is NaN.

Sources: R. Cont, A. Kukanov, S. Stoikov, "The price impact of order book events" (2014) for order flow; M. Gould,
J. Bonart, "Queue imbalance as a one-tick-ahead price predictor in a limit order book" (2016) for imbalance; J. Large,
"Measuring the resiliency of an electronic limit order book" (2007) for replenishment. FAULTS D09 and D10 say which
trades count.
"""

from __future__ import annotations

from pricer.microstructure.measures import NO_VEGA_DEPTH, VegaDepth, depth_in_vega, imbalance, microprice, order_flow
from pricer.microstructure.tracker import MicroState, Microstructure

__all__ = [
    "NO_VEGA_DEPTH",
    "MicroState",
    "Microstructure",
    "VegaDepth",
    "depth_in_vega",
    "imbalance",
    "microprice",
    "order_flow",
]
