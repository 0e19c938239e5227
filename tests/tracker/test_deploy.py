"""tracker/deploy: what is started, what stands before it and what is watched is the product's own."""

import re
from ipaddress import ip_network
from pathlib import Path
from typing import Any

import typer
import yaml  # type: ignore[import-untyped]  # -- its types are a package of their own, for this one file
from gpunode_tracker.commands import commands
from gpunode_tracker.config import DATABASE_VARIABLE, REDIS_VARIABLE, TrackerSettings
from gpunode_tracker.dispatch.verdicts import End
from gpunode_tracker.limits import Limits
from gpunode_tracker.routes import METRICS_PATH

from tests.tracker.conftest import World

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "tracker" / "deploy"
NGINX = (FOLDER / "nginx.conf").read_text(encoding="utf-8")
NGINX_MAIN = (FOLDER / "nginx.main.conf").read_text(encoding="utf-8")
VALUES = {"DOMAIN": "tracker.example", "ADDRESS": "203.0.113.7", "POSTGRES_PASSWORD": "secret"}
_ELSEWHERE = {"gpunode_tracker_redis_up", "gpunode_tracker_clock_ahead_seconds"}  # see tests/tracker/shared


def _read(name: str) -> Any:
    text = (FOLDER / name).read_text(encoding="utf-8")
    return yaml.safe_load(re.sub(r"\$\{(\w+):\?\}", lambda found: VALUES[found[1]], text))


COMPOSE = _read("docker-compose.yml")
TRACKER = COMPOSE["services"]["tracker"]


def _options() -> list[tuple[str, str]]:
    """Return the options of the tracker's command, with their values."""
    assert TRACKER["command"][:2] == ["tracker", "start"]
    return [(name, value) for name, _, value in (each.partition("=") for each in TRACKER["command"][2:])]


def test_the_tracker_is_started_with_options_that_there_are() -> None:
    """And its settings take the values."""
    known = {option for each in typer.main.get_group(commands).commands["start"].params for option in each.opts}
    assert {name for name, _ in _options()} - known == set()
    values: dict[str, Any] = {}
    for name, value in _options():
        field = {"--trusted-proxy": "trusted_proxies"}.get(name, name.removeprefix("--").replace("-", "_"))
        if field in {"trusted_proxies", "announce_address"}:
            values[field] = (*values.get(field, ()), value)
        else:
            values[field] = value or True
    settings = TrackerSettings(data_dir=Path("/data"), database_url=TRACKER["environment"][DATABASE_VARIABLE], **values)
    assert settings.public_url == "https://tracker.example"
    (front,) = COMPOSE["networks"]["front"]["ipam"]["config"]
    assert settings.proxy_networks == (ip_network(front["subnet"]),)
    assert set(TRACKER["environment"]) == {DATABASE_VARIABLE, REDIS_VARIABLE}


def test_the_image_is_the_dockerfiles() -> None:
    """Its target, from the folder that it is in, and the volume where it keeps its data."""
    dockerfile = ((FOLDER / TRACKER["build"]["context"]) / "Dockerfile").read_text(encoding="utf-8")
    assert f" AS {TRACKER['build']['target']}\n" in dockerfile
    assert all(f"ARG {name}" in dockerfile for name in TRACKER["build"]["args"])
    assert TRACKER["volumes"] == ["tracker:/data"]
    assert "VOLUME /data" in dockerfile


def test_nginx_takes_what_the_tracker_takes() -> None:
    """It passes on to where the tracker listens, and has its files mounted where it reads them."""
    port = dict(_options())["--listen"].rpartition(":")[2]
    assert f"set $tracker tracker:{port};" in NGINX
    assert "proxy_pass http://$tracker;" in NGINX  # a name in a variable is looked up anew
    assert "client_max_body_size 0;" in NGINX  # the tracker refuses what is too large, in its own words
    assert "proxy_request_buffering off;" in NGINX
    mounted = dict(each.split(":")[:2] for each in COMPOSE["services"]["nginx"]["volumes"])
    assert mounted.keys() == {"./nginx.main.conf", "./nginx.conf", "./tls"}
    assert mounted["./nginx.main.conf"] == "/etc/nginx/nginx.conf"
    assert f"include {mounted['./nginx.conf'].replace('default', '*')};" in NGINX_MAIN
    assert f"ssl_certificate {mounted['./tls']}/" in NGINX
    assert "X-Forwarded-For $remote_addr;" in NGINX  # a client's own word of it is not passed on


def test_nginx_has_room_for_as_many_connections_as_the_tracker() -> None:
    """Each is one to the client and one to the tracker; of all processes, one may get them all."""
    (connections,) = re.findall(r"worker_connections (\d+);", NGINX_MAIN)
    (files,) = re.findall(r"worker_rlimit_nofile (\d+);", NGINX_MAIN)
    assert 2 * Limits().connections <= int(connections) < int(files) < COMPOSE["services"]["nginx"]["ulimits"]["nofile"]
    assert int(TRACKER["ulimits"]["nofile"]) > Limits().connections


def test_secrets_stay_where_they_are() -> None:
    """Neither a commit nor the image's build takes along the files that the operator makes here."""
    not_committed = (ROOT / ".gitignore").read_text(encoding="utf-8").splitlines()
    not_built_in = (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()
    assert {".env", "/tracker/deploy/tls/"} <= {*not_committed}
    assert {"**/.env", "tracker/deploy/tls"} <= {*not_built_in}


def test_what_redis_and_clients_do_is_no_failure() -> None:
    """Words that are dropped because Redis is away, and jobs that their clients cancel, have no alert of their own."""
    rules = {rule["alert"]: rule["expr"] for group in _read("alerts.yml")["groups"] for rule in group["rules"]}
    assert 'reason!="redis_away"' in rules["TrackerNewsDropped"]
    ends = re.findall(r'end=~"([\w|]+)"', rules["TrackerJobsFail"])
    assert {*ends[0].split("|")} == {End.FAILED, End.RETRIED}
    assert {*ends[1].split("|")} == {End.COMPLETED, End.FAILED, End.RETRIED}


def test_volumes_and_networks_are_declared() -> None:
    """Else the file is refused."""
    services = COMPOSE["services"].values()
    named = {each.split(":")[0] for service in services for each in service.get("volumes", ()) if each[0] != "."}
    assert named == set(COMPOSE["volumes"])
    assert {each for service in services for each in service.get("networks", ())} == {"default", *COMPOSE["networks"]}
    assert {each for service in services for each in service.get("depends_on", ())} <= set(COMPOSE["services"])


async def test_every_metric_of_the_alerts_is_told(world: World) -> None:
    """A rule on a name that nothing has would never fire."""
    rules = [rule for group in _read("alerts.yml")["groups"] for rule in group["rules"]]
    named = {name for rule in rules for name in re.findall(r"gpunode_\w+", rule["expr"])}
    told = (await (await world.get(METRICS_PATH)).text()).splitlines()
    kinds = {line.split()[2] for line in told if line.startswith("# TYPE ")}
    assert named - kinds == _ELSEWHERE
    assert len(named) >= 6
    assert len({rule["alert"] for rule in rules}) == len(rules)
    assert all(rule["for"] and rule["labels"]["severity"] in {"page", "ticket"} for rule in rules)
    assert all(rule["annotations"]["summary"] for rule in rules)
