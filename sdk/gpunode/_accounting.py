"""What the client tells the tracker about a job's end: vouchers that no node can deliver, and complaints."""

from typing import Final, Protocol

from gpunode_protocol.errors import VerificationFailed
from gpunode_protocol.receipts import Receipt
from gpunode_protocol.requests import JobRequest
from gpunode_protocol.signing import Signed
from gpunode_protocol.tracker_api import ReportRequest, SettlementItem
from gpunode_protocol.vouchers import Voucher

from gpunode._background import Background
from gpunode._handing_in import HandingIn

_MAX_DETAIL_CHARS: Final = 500


class ReportTarget(Protocol):
    """The tracker."""

    async def report(self, request: ReportRequest) -> None:
        """Complain about a node."""
        ...


class JobAccounts(Protocol):
    """Who is told what a job's nodes are owed."""

    def submit(self, voucher: Signed[Voucher] | None, receipt: Signed[Receipt] | None = None) -> None:
        """Hand in what no node will; None: nothing was received."""
        ...

    def handed_over(self, voucher: Signed[Voucher], receipt: Signed[Receipt]) -> None:
        """Note that a node has got its final voucher, and hands it in itself."""
        ...

    def report(self, request: Signed[JobRequest], error: VerificationFailed) -> None:
        """Complain about an answer that did not verify."""
        ...


class Accounting:
    """Tells it behind the jobs' backs.

    Args:
        tracker: gets the complaints.
        handing_in: gets the vouchers.
        background: sends complaints.
    """

    def __init__(self, tracker: ReportTarget, handing_in: HandingIn, background: Background) -> None:
        self._tracker = tracker
        self._handing_in = handing_in
        self._background = background

    def submit(self, voucher: Signed[Voucher] | None, receipt: Signed[Receipt] | None = None) -> None:
        """Submit a voucher (None: nothing was received) and the receipt that it agrees with."""
        if voucher is not None:
            receipt_sent = receipt.envelope if receipt else None
            self._handing_in.submit(SettlementItem(voucher=voucher.envelope, receipt=receipt_sent))

    def handed_over(self, voucher: Signed[Voucher], receipt: Signed[Receipt]) -> None:
        """Leave it to the node."""

    def report(self, request: Signed[JobRequest], error: VerificationFailed) -> None:
        """Complain about an answer that did not verify."""
        self._background.spawn(self._tracker.report(complaint(request, error)))


def complaint(request: Signed[JobRequest], error: VerificationFailed) -> ReportRequest:
    """Return what the tracker is told of an answer that did not verify."""
    body = request.body
    return ReportRequest(
        node=body.node, job=body.job, segment=body.segment, kind=error.fault, detail=str(error)[:_MAX_DETAIL_CHARS]
    )
