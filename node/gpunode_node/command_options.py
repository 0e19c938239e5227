"""Options of the node's commands. Imports nothing heavy: every command line builds them."""

from pathlib import Path
from typing import Annotated

import typer
from gpunode_engines.confinement import SandboxMode
from gpunode_protocol.regions import Region


def region_named(text: str) -> Region:
    """Return the region of this name, in any case. Raises BadParameter, which names them all."""
    try:
        return Region(text.lower())
    except ValueError as error:
        *most, last = Region
        raise typer.BadParameter(f"{text} is not a region. Choose {', '.join(most)} or {last}.") from error


JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON for programs.")]
DataDirOption = Annotated[
    Path | None, typer.Option(help="The node's folder; by default the platform's. GPUNODE_DATA_DIR")
]

BootstrapOption = Annotated[
    str | None,
    typer.Option(metavar="HOST[:PORT]", help="The tracker whose network to join; https, port 443."),
]
PullOption = Annotated[
    bool, typer.Option("--pull", help="Fetch jobs from the tracker's queue by HTTPS, without any mesh.")
]
TrackerOption = Annotated[
    str | None, typer.Option(metavar="URL", help="With --pull: the tracker to work for. GPUNODE_TRACKER")
]
InsecureOption = Annotated[
    bool | None, typer.Option("--insecure", help="Allow plain http to a tracker on another machine.")
]
CaFileOption = Annotated[
    Path | None, typer.Option(help="PEM file of certificate authorities, instead of the system's.")
]
NetworkIdOption = Annotated[str | None, typer.Option(help="Join only this network (40 hex digits).")]
ModelOption = Annotated[
    list[str] | None,
    typer.Option(help="What to serve, up to 4 times; by default what fits, the network's default first."),
]
ModelsDirOption = Annotated[Path | None, typer.Option(help="Where pulled models are.")]
RegionOption = Annotated[
    Region | None,
    typer.Option(
        parser=region_named, metavar=f"[{'|'.join(Region)}]", help="Where this node is; by default as its address says."
    ),
]
CountryOption = Annotated[str | None, typer.Option(help="Two letters, such as DE.")]
LatitudeOption = Annotated[
    float | None,
    typer.Option(metavar="DEGREES", help="North of the equator, south negative; whole degrees are advertised."),
]
LongitudeOption = Annotated[
    float | None, typer.Option(metavar="DEGREES", help="East of Greenwich, west negative; goes with --latitude.")
]
NameOption = Annotated[str | None, typer.Option(help="Shown to the tracker's operator.")]
ListenOption = Annotated[list[str] | None, typer.Option(metavar="MULTIADDR", help="Where to listen; repeatable.")]
PortOption = Annotated[int | None, typer.Option(help="libp2p port, TCP and UDP; 0 = any free one.")]
AnnounceAddressOption = Annotated[
    list[str] | None, typer.Option(metavar="MULTIADDR", help="Where others reach this node; repeatable.")
]
SlotsOption = Annotated[int | None, typer.Option(help="Jobs at once for each model; by default the catalogue's.")]
QueueLimitOption = Annotated[int | None, typer.Option(help="Jobs that may wait for each model.")]
ThreadsOption = Annotated[int | None, typer.Option(help="CPU threads of an engine; by default the physical cores.")]
IdleUnloadOption = Annotated[
    float | None, typer.Option(metavar="SECONDS", help="A model idle for so long leaves memory; 0 = never.")
]
MaxGpuMemoryOption = Annotated[
    str | None, typer.Option(metavar="MB|%", help="What models may take of each card, such as 6000 or 50%.")
]
MaxPowerOption = Annotated[int | None, typer.Option(metavar="WATTS", help="What each card may draw.")]
ScheduleOption = Annotated[
    str | None, typer.Option(metavar="HH:MM-HH:MM", help="Serve only then (local time); several by commas.")
]
PauseWhenBusyOption = Annotated[
    bool | None, typer.Option("--pause-when-busy", help="Give way while another program uses a card.")
]
SandboxOption = Annotated[
    SandboxMode | None, typer.Option(help="Where engines cannot be confined fully: go on, or refuse to start.")
]
ExposureCreditsOption = Annotated[int | None, typer.Option(help="Credits at risk for one open grant.")]
DrainTimeoutOption = Annotated[float | None, typer.Option(metavar="SECONDS", help="What running jobs get at a stop.")]
HeartbeatIntervalOption = Annotated[
    float | None, typer.Option(metavar="SECONDS", help="How often to ask the tracker what was revoked.")
]
NoQuicOption = Annotated[bool, typer.Option("--no-quic", help="Leave QUIC out.")]
