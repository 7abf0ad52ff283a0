"""The support desk of Kawan Elite: eligibility, tickets and the promises made on them."""

import zoneinfo

# Every answer has to come from the pinned tzdata package: a system copy may disagree with it
# on real offsets, and two machines would then compute two due dates for one ticket.
zoneinfo.reset_tzpath(to=())
