"""What a queued job's nodes are owed: collected while it runs, paid before its reservation goes back."""

from gpunode._accounting import complaint
from gpunode._job_cost import cost_of
from gpunode_protocol.errors import VerificationFailed
from gpunode_protocol.prices import PriceTable
from gpunode_protocol.receipts import Receipt
from gpunode_protocol.requests import JobRequest
from gpunode_protocol.signing import Signed
from gpunode_protocol.tracker_api import ReportRequest, SettlementItem
from gpunode_protocol.vouchers import Voucher


class Debts:
    """Implements ``gpunode._accounting.JobAccounts``."""

    def __init__(self) -> None:
        self.complaints: list[ReportRequest] = []
        self._vouchers: list[tuple[Signed[Voucher], Signed[Receipt] | None]] = []

    def submit(self, voucher: Signed[Voucher] | None, receipt: Signed[Receipt] | None = None) -> None:
        """Note a voucher; None: nothing was received."""
        if voucher is not None:
            self._vouchers.append((voucher, receipt))

    def handed_over(self, voucher: Signed[Voucher], receipt: Signed[Receipt]) -> None:
        """Note it likewise: the node hands it in too late, when the job's reservation has gone back."""
        self.submit(voucher, receipt)

    def report(self, request: Signed[JobRequest], error: VerificationFailed) -> None:
        """Note a complaint."""
        self.complaints.append(complaint(request, error))

    @property
    def items(self) -> tuple[SettlementItem, ...]:
        """What is to be settled."""
        return tuple(
            SettlementItem(voucher=voucher.envelope, receipt=receipt.envelope if receipt is not None else None)
            for voucher, receipt in self._vouchers
        )

    def due_microcredits(self, prices: PriceTable) -> int:
        """Return what they promise together, by the prices of the job's reservation."""
        return sum(cost_of(voucher.body, prices) for voucher, _ in self._vouchers)
