"""The URL table."""

from aiohttp import web
from gpunode_protocol import jobs_api
from gpunode_protocol import tracker_api as api

from gpunode_tracker.handlers import (
    accounts,
    grants,
    health,
    ledger,
    network,
    nodes,
    reports,
    settlements,
    worker_jobs,
    workers,
)

METRICS_PATH = "/metrics"

ROUTES: tuple[web.RouteDef, ...] = (
    web.get(api.NETWORK_PATH, network.get_network),
    web.get(api.JWKS_PATH, network.get_jwks),
    web.get(api.REGIONS_PATH, network.get_regions),
    web.post(api.CHALLENGE_PATH, nodes.post_challenge),
    web.post(api.REGISTER_PATH, nodes.post_register),
    web.get(api.NODES_PATH, nodes.get_nodes),
    web.post(api.HEARTBEAT_PATH, nodes.post_heartbeat),
    web.delete(api.NODE_PATH, nodes.delete_node),
    web.get(api.NODE_BALANCE_PATH, nodes.get_node_balance),
    web.post(api.LINK_PATH, nodes.post_link),
    web.post(api.ACCOUNTS_PATH, accounts.post_account),
    web.get(api.OWN_NODES_PATH, accounts.get_own_nodes),
    web.post(api.GRANTS_PATH, grants.post_grant),
    web.post(api.SETTLEMENTS_PATH, settlements.post_settlements),
    web.post(api.REPORTS_PATH, reports.post_report),
    web.get(api.BALANCE_PATH, ledger.get_balance),
    web.get(api.ENTRIES_PATH, ledger.get_entries),
    web.get(api.HEAD_PATH, ledger.get_head),
    web.get(api.LEAVES_PATH, ledger.get_leaves),
    web.get(api.CONSISTENCY_PATH, ledger.get_consistency),
    web.get(api.RESTORATIONS_PATH, ledger.get_restorations),
    web.get(api.RECEIPT_PATH, ledger.get_receipt),
    web.post(jobs_api.WORKER_REGISTER_PATH, workers.post_worker_register),
    web.get(jobs_api.WORKERS_PATH, workers.get_workers),
    web.get(jobs_api.WORKER_PATH, workers.get_worker),
    web.delete(jobs_api.WORKER_PATH, workers.delete_worker),
    web.post(jobs_api.WORKER_HEARTBEAT_PATH, workers.post_worker_heartbeat),
    web.post(jobs_api.WORKER_MAINTENANCE_PATH, workers.post_worker_maintenance),
    web.post(jobs_api.WORKER_TOKEN_PATH, workers.post_worker_token),
    web.get(jobs_api.NEXT_JOB_PATH, worker_jobs.get_next_job),
    web.post(jobs_api.JOB_EVENTS_PATH, worker_jobs.post_job_event),
    web.post(jobs_api.COMPLETE_PATH, worker_jobs.post_job_complete),
    web.get(api.HEALTH_PATH, health.get_health),
    web.get(api.READY_PATH, health.get_ready),
    web.get(METRICS_PATH, health.get_metrics),
)
