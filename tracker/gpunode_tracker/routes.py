"""The URL table: what is served, and what the OpenAPI document says of it."""

from gpunode_protocol import jobs_api
from gpunode_protocol import tracker_api as api
from gpunode_protocol.ledger_proofs import ReceiptProof
from gpunode_protocol.regions import Region
from gpunode_protocol.tasks import Task
from gpunode_protocol.validation import JOB_ID_PATTERN, MAX_INT64

from gpunode_tracker.handlers import accounts, grants, health, jobs, ledger, network, nodes, reports, settlements
from gpunode_tracker.jobs.job import JobStatus
from gpunode_tracker.openapi.route import EVENT_STREAM, PLAIN_TEXT, Auth, Route, choice, number, text

METRICS_PATH = "/metrics"

ROUTES: tuple[Route, ...] = (
    Route("GET", api.NETWORK_PATH, network.get_network, reply=api.NetworkInfo),
    Route("GET", api.JWKS_PATH, network.get_jwks, reply=network.JwkSet),
    Route("GET", api.REGIONS_PATH, network.get_regions, reply=api.RegionsReply),
    Route("POST", api.CHALLENGE_PATH, nodes.post_challenge, reply=api.ChallengeReply),
    Route(
        "POST",
        api.REGISTER_PATH,
        nodes.post_register,
        body=api.RegisterRequest,
        reply=api.RegisterReply,
        status=201,
        problems=(403,),
    ),
    Route(
        "GET",
        api.NODES_PATH,
        nodes.get_nodes,
        reply=api.NodesReply,
        query=(
            choice("task", "Only nodes that serve this task.", Task),
            text("model", "Only nodes that serve this model."),
            choice("region", "Only nodes there.", Region),
        ),
    ),
    Route(
        "POST",
        api.HEARTBEAT_PATH,
        nodes.post_heartbeat,
        body=api.HeartbeatRequest,
        reply=api.HeartbeatReply,
        auth=Auth.WORKER,
    ),
    Route("DELETE", api.NODE_PATH, nodes.delete_node, reply=None, status=204, auth=Auth.WORKER),
    Route(
        "GET",
        api.NODE_BALANCE_PATH,
        nodes.get_node_balance,
        reply=api.BalanceReply,
        auth=Auth.KEY_OR_WORKER,
        problems=(400, 404),
    ),
    Route("POST", api.LINK_PATH, nodes.post_link, body=api.LinkRequest, reply=api.LinkReply, auth=Auth.KEY),
    Route(
        "POST",
        api.ACCOUNTS_PATH,
        accounts.post_account,
        body=api.AccountRequest,
        reply=api.AccountReply,
        status=201,
        problems=(403,),
    ),
    Route("GET", api.OWN_NODES_PATH, accounts.get_own_nodes, reply=api.OwnNodesReply, auth=Auth.KEY),
    Route(
        "POST",
        api.GRANTS_PATH,
        grants.post_grant,
        body=api.GrantRequest,
        reply=api.GrantReply,
        status=201,
        auth=Auth.KEY,
        problems=(402,),
    ),
    Route(
        "POST",
        api.SETTLEMENTS_PATH,
        settlements.post_settlements,
        body=api.SettlementBatch,
        reply=api.SettlementReply,
        auth=Auth.OPTIONAL,
    ),
    Route("POST", api.REPORTS_PATH, reports.post_report, body=api.ReportRequest, reply=None, status=204, auth=Auth.KEY),
    Route("GET", api.BALANCE_PATH, ledger.get_balance, reply=api.BalanceReply, auth=Auth.KEY_OR_WORKER),
    Route(
        "GET",
        api.ENTRIES_PATH,
        ledger.get_entries,
        reply=api.EntriesReply,
        auth=Auth.KEY_OR_WORKER,
        query=(
            number("cursor", "As the page before gave it in `next_cursor`.", highest=MAX_INT64),
            number("limit", "Entries of the page; 0 = as many as is usual.", highest=ledger.MAX_ENTRIES),
        ),
    ),
    Route("GET", api.HEAD_PATH, ledger.get_head, reply=api.HeadReply),
    Route(
        "GET",
        api.LEAVES_PATH,
        ledger.get_leaves,
        reply=api.LeavesReply,
        query=(
            number("start", "Number of the first leaf.", highest=MAX_INT64),
            number("limit", "Leaves of the page.", highest=ledger.MAX_LEAVES),
        ),
    ),
    Route(
        "GET",
        api.CONSISTENCY_PATH,
        ledger.get_consistency,
        reply=api.ConsistencyReply,
        query=(
            number("from", "Size of the older tree.", highest=MAX_INT64),
            number("to", "Size of the newer tree; without it, the newest.", highest=MAX_INT64),
        ),
    ),
    Route(
        "GET",
        api.RECEIPT_PATH,
        ledger.get_receipt,
        reply=ReceiptProof,
        auth=Auth.KEY_OR_WORKER,
        problems=(404, 422),
    ),
    Route(
        "POST",
        jobs_api.JOBS_PATH,
        jobs.post_job,
        body=jobs_api.JobSubmission,
        reply=jobs_api.JobTicket,
        status=202,
        also={200: jobs_api.JobTicket},
        auth=Auth.KEY,
        headers=(jobs_api.IDEMPOTENCY_KEY_HEADER,),
        problems=(402,),
    ),
    Route(
        "POST",
        jobs_api.SYNC_JOB_PATH,
        jobs.post_sync_job,
        body=jobs_api.JobSubmission,
        reply=jobs_api.JobView,
        auth=Auth.KEY,
        headers=(jobs_api.IDEMPOTENCY_KEY_HEADER,),
        problems=(402, 504),
    ),
    Route(
        "GET",
        jobs_api.JOBS_PATH,
        jobs.get_jobs,
        reply=jobs_api.JobsPage,
        auth=Auth.KEY,
        query=(
            choice("status", "Only jobs that are so.", JobStatus),
            choice("type", "Only jobs of this type.", Task),
            text("cursor", "As the page before gave it in `next_cursor`.", pattern=JOB_ID_PATTERN),
            number("limit", "Jobs of the page; 0 = as many as is usual.", highest=jobs_api.MAX_PAGE),
        ),
    ),
    Route("GET", jobs_api.JOB_PATH, jobs.get_job, reply=jobs_api.JobView, auth=Auth.KEY, problems=(404,)),
    Route("DELETE", jobs_api.JOB_PATH, jobs.delete_job, reply=jobs_api.JobView, auth=Auth.KEY, problems=(404, 409)),
    Route("GET", jobs_api.JOB_EVENTS_PATH, jobs.get_job_events, reply=EVENT_STREAM, auth=Auth.KEY, problems=(404,)),
    Route("GET", api.HEALTH_PATH, health.get_health, reply=health.Health),
    Route("GET", api.READY_PATH, health.get_ready, reply=health.Readiness),
    Route("GET", METRICS_PATH, health.get_metrics, reply=PLAIN_TEXT),
)
