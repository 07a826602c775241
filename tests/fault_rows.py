"""The rows of the fault catalogue, in a few words of our own: id, severity (A blocks a release), fault."""

from __future__ import annotations

from typing import NamedTuple


class Row(NamedTuple):
    id: str
    severity: str
    fault: str


SECTIONS = {
    "T": "TCP, names, the way there",
    "L": "TLS",
    "W": "WebSocket",
    "P": "The venue's protocol and the session",
    "S": "Sequences and books",
    "D": "Data",
    "N": "Life of an instrument",
    "C": "Time",
    "M": "Volatilities and Greeks",
    "F": "Forwards and surfaces",
    "E": "Engine",
    "V": "Sidecar",
    "X": "Consumers",
    "R": "Recordings",
    "H": "Process and host",
    "Z": "Security",
    "Q": "Positions and hedging",
}
# Complete in the table; of the later sections the rows are shown for which tests exist.
COMPLETE = "TLWPSDNC"
# Of these no row of severity A may be without a test either.
RELEASED = "EVXHZ"
INVARIANTS = frozenset(f"I{number}" for number in range(1, 13))

_TEXT = """
T01 A nobody listens at the start
T02 A the connection is reset while data flows
T03 A the venue closes properly
T04 A the peer is gone and nobody says so
T05 A data comes, nothing gets out
T06 A the connection lives, the data has stopped
T07 B a delay of three seconds, and back
T08 B too little bandwidth for the feed
T09 B bytes come one by one
T10 B names resolve slowly, wrongly, or not
T11 B connections that last seconds
T12 B the proxy refuses or hangs
T13 B all connections drop together
T14 C the machine sleeps ten minutes
L01 A a certificate that proves nothing
L02 B the handshake hangs
L03 B only old TLS is offered
L04 C the stream is cut inside a frame
W01 A a message beyond the size limit
W02 A a small frame that inflates without end
W03 A the upgrade is never answered
W04 A the upgrade is answered with a refusal, perhaps with a time
W05 B data on the heels of the upgrade
W06 B messages in fragments, pings between
W07 B text that is none, binary that should be text
W08 B pings by the thousand
W09 B pongs are due while the processor is busy
W10 B closed with "restart" or "try later"
W11 B the venue announces its shutdown
W12 B the venue cuts after a day
W13 C two connections bring the same
P01 A one channel of many is refused
P02 A accepted, and then nothing comes
P03 A replies are lost or change places
P04 A what was dropped must not come back with a reconnect
P05 A quiet is not dead
P06 A the venue asks for a sign of life
P07 A too many requests
P08 B limits of one connection
P09 A the token runs out
P10 A the login fails, or the clock spoils the signature
P11 B the login takes long
P12 A unknown messages, fields and words
P13 A fields missing, empty, or of another type
P14 B the venue is locked or in maintenance
P15 B a key of the other environment
P16 B an instrument list that is slow, partial, or in pages
P17 B one symbol at two venues or in two families
P18 C the venue finds us too slow
S01 A a change is missing
S02 A a change comes twice
S03 A changes come in another order
S04 A changes come before the snapshot
S05 A the snapshot is older, or newer, than the changes kept
S06 A a snapshot in the middle
S07 A levels from before a reconnect
S08 A the venue counts anew
S09 A a change that changes nothing
S10 A the checksum differs
S11 B checksums end, or are reckoned otherwise
S12 A sizes of zero or less, and levels that never were
S13 A a crossed or locked book
S14 B levels outside the window
S15 B all books gap at once
S16 B ticker and book disagree
S17 C numbers beyond 32 and 53 bits
D01 A one side of a quote, or none
D02 A a quote a hundred times off
D03 A the underlying stands still
D04 A the underlying jumps and returns
D05 A the underlying is zero, negative or null
D06 B the venue's volatility and ours differ
D07 A Greeks in another convention
D08 A another multiplier, size, or way to write a strike
D09 B trades twice, late, or taken back
D10 B blocks and combos among trades
D11 B quotes that cross between venues
D12 B curves missing, stale or impossible
D13 B numbers in words, commas, or beyond all bounds
D14 C one instrument drowns the others
D15 B open interest or volume that cannot be
N01 A a listing while running
N02 A an expiry
N03 A data after the expiry
N04 A a reconnect after an expiry
N05 B trading is halted
N06 B the venue changes a definition
N07 B a name is used again
N08 B no future for an expiry
N09 C twenty thousand instruments
C01 A the wall clock jumps
C02 A our clock is off
C03 A the last minute, second, and none
C04 A the average of the settlement window
C05 A days that count less than others
C06 B daylight saving
C07 B leap days and far years
C08 B stamps in any unit
C09 B the venue's time runs backwards
C10 B the variance of an event
C11 C leap seconds
C12 A no stamp, or zero
M01 A prices outside the bounds
M02 A prices at the bounds
M03 A prices too small for a vega
M04 A the corners of the domain
M05 A inputs that are no numbers
M06 A call and put disagree
M07 A premiums in coin
M08 A Greeks against references
M09 A multipliers applied twice, or never
M10 B early exercise
M11 B the second solver
M12 B compiling on the hot path
M13 B a spoiled cache of compiled code
M14 B kernels from several threads
M15 C other processors, other last bits
F01 A a fit that does not converge
F02 A a fit far from the market
F03 A butterfly arbitrage
F04 A calendar arbitrage
F05 A fewer than five quotes
F06 A one bad quote in a fit
F07 A two solutions in turn
F08 B outside the quotes
F09 A a forward that the quotes deny
F10 B an expiry ends while fitted
F11 B fits slower than ticks
F12 B part of a chain at the start
F13 B the order of equal quotes
F14 C the market moves thirty points
E01 A more input than can be priced
E02 A a callback raises
E03 A a callback blocks
E04 A the loop is held up
E05 A a reader between two writes
E06 B subscriptions come and go
E07 B the collector pauses
E08 A an exception inside a task
E09 B impossible settings
E10 B a bad file while running
E11 B closed in the middle of anything
E12 C two engines in one process
V01 A a client that reads slowly
V02 A a client that is gone
V03 A a thousand clients at once
V04 A handshakes that never end
V05 A hostile messages
V06 A subscriptions without measure
V07 A joining in mid-stream
V08 A resuming after a drop
V09 A the venue behind is down
V10 A the sidecar starts again
V11 B health that lies
V12 B metrics without bounds
V13 B an old client
V14 B polling a thousand times a second
V15 B an address that is taken
V16 C a second sidecar
X01 A a status that is ignored
X02 A a bot that falls behind
X03 A the sidecar is lost
X04 B notebooks
X05 B arrays changed by their reader
X06 B alerts by the thousand
X07 B a hedge during a resync
X08 C history while live
R01 A killed while recording
R02 A the power fails
R03 A the disk is full
R04 A the disk is slow
R05 A writes that fail in part
R06 A bits that rot
R07 A secrets in a recording
R08 A a replay that differs
R09 B files of older versions
R10 B a new file at midnight
R11 B history that overlaps the present
R12 B two recorders in one place
R13 B reading what is being written
R14 C looking ahead
R15 C names that are paths
H01 A told to end
H02 A told again
H03 A memory over days
H04 A out of descriptors
H05 B out of memory
H06 B a fifth of a processor
H07 B a busy neighbour
H08 B nowhere to write
H09 B as nobody, without a network
H10 B another Python
H11 B a crash loop
H12 C a fork after the start
H13 C suspended
Z01 A open to the network by default
Z02 A a web page that opens our socket
Z03 A tokens missing or wrong
Z04 A more asked than the token allows
Z05 A secrets in what is written
Z06 A strings that forge log lines
Z07 A memory as a target
Z08 A processor time as a target
Z09 A addresses given by clients
Z10 A paths given by clients
Z11 A objects made of foreign bytes
Z12 A scripts in names
Z13 B templates that run
Z14 B expressions that run
Z15 B a key with more rights than needed
Z16 B another venue by environment
Z17 B dependencies
Z18 B side doors that tell
Z19 B a control message said again
Z20 C weak TLS of our own
Q01 A an order whose fate is unknown
Q02 A a fill twice, late or early
Q03 A the private stream is lost
Q04 A the venue's position differs
Q05 A a hedge on the wrong delta
Q06 A a hedger that runs away
Q07 B an expiring option in its average
Q08 B a profit that does not add up
"""

ROWS = {line[:3]: Row(line[:3], line[4], line[6:]) for line in _TEXT.strip().splitlines()}
