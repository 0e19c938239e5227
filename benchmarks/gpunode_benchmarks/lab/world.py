"""World files: places, hosts, and the delays between them, the truth against which routing is judged.

Every figure is of a round trip unless it says otherwise. The lab halves it: both directions are the same.
"""

import ipaddress
import re
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import Annotated, Final, Self

from gpunode_protocol.regions import Region
from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError, model_validator

from gpunode_benchmarks.lab.errors import WorldInvalid

NETWORK: Final = ipaddress.IPv4Network("11.0.0.0/8")
"""Where the hosts are: libp2p takes it for routable, and the lab's namespaces have no way out of it."""

WORLDS_FOLDERS: Final = (Path(__file__).parents[1] / "worlds", Path(__file__).parents[2] / "worlds")
"""Where shipped worlds are: in an installed wheel, in a checkout."""

_NAME: Final = r"^[a-z][a-z0-9-]{0,23}$"
_MOST_IN_A_ROW: Final = 250
_MAX_RTT_MS: Final = 5_000.0

_Name = Annotated[str, StringConstraints(pattern=_NAME)]
_RttMs = Annotated[float, Field(ge=0, le=_MAX_RTT_MS)]
_Loss = Annotated[float, Field(ge=0, lt=1)]


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Place(_Part):
    """A city. country: two letters. latitude, longitude: degrees."""

    region: Region
    country: Annotated[str, StringConstraints(pattern=r"^[A-Z]{2}$")]
    latitude: Annotated[float, Field(ge=-90, le=90)]
    longitude: Annotated[float, Field(ge=-180, le=180)]


class Host(_Part):
    """A machine. access_rtt_ms: what its own line adds to every round trip."""

    place: str
    access_rtt_ms: _RttMs = 0.0


class PathBetween(_Part):
    """What differs between two places from the rest of the world; see ``World``."""

    between: tuple[str, str]
    jitter_ms: _RttMs | None = None
    loss: _Loss | None = None


@dataclass(frozen=True, slots=True)
class OneWay:
    """One direction between two hosts.

    delay_s: what every packet takes. jitter_s: the most that it may take beyond that. loss: share of packets lost.
    """

    delay_s: float
    jitter_s: float
    loss: float


class World(_Part):
    """A whole world.

    Args:
        about: what it stands for, and what in it is assumed.
        seed: of jitter and losses.
        local_rtt_ms: between two hosts of one place, and from a host to itself as others would see it.
        jitter_ms: the most that a round trip takes beyond its delay; uniform from 0.
        loss: share of packets lost, in each direction, 0 to < 1.
        places: by name.
        hosts: by name.
        rtt_ms: between places, each pair once, in either order.
        paths: exceptions from jitter and loss.
    """

    about: Annotated[str, StringConstraints(min_length=1)]
    seed: int = 1
    local_rtt_ms: _RttMs = 1.0
    jitter_ms: _RttMs = 0.0
    loss: _Loss = 0.0
    places: Annotated[dict[_Name, Place], Field(min_length=1, max_length=_MOST_IN_A_ROW)]
    hosts: Annotated[dict[_Name, Host], Field(min_length=1, max_length=_MOST_IN_A_ROW)]
    rtt_ms: dict[str, dict[str, _RttMs]] = {}
    paths: tuple[PathBetween, ...] = ()

    @model_validator(mode="after")
    def _check_whole(self) -> Self:
        problems = [*self._host_problems(), *self._pair_problems(), *self._path_problems()]
        if problems:
            raise ValueError("; ".join(problems))
        return self

    def _host_problems(self) -> Iterator[str]:
        for name, host in self.hosts.items():
            if host.place not in self.places:
                yield f"hosts.{name} is at {host.place!r}, which is not among the places"

    def _pair_problems(self) -> Iterator[str]:
        seen: set[frozenset[str]] = set()
        for first, row in self.rtt_ms.items():
            for second in row:
                pair = frozenset((first, second))
                if unknown := sorted(pair - self.places.keys()):
                    yield f"rtt_ms.{first}.{second} names {unknown[0]!r}, which is not among the places"
                elif first == second:
                    yield f"rtt_ms.{first}.{second} is within one place: set local_rtt_ms instead"
                elif pair in seen:
                    yield f"rtt_ms.{first}.{second} is given twice, as rtt_ms.{second}.{first} too"
                seen.add(pair)
        for first, second in combinations(self.places, 2):
            if frozenset((first, second)) not in seen:
                yield f"rtt_ms.{first}.{second} is missing"

    def _path_problems(self) -> Iterator[str]:
        seen: set[frozenset[str]] = set()
        for path in self.paths:
            first, second = path.between
            if unknown := sorted({first, second} - self.places.keys()):
                yield f"paths: {first} and {second}: {unknown[0]!r} is not among the places"
            if frozenset(path.between) in seen:
                yield f"paths: {first} and {second} are given twice"
            seen.add(frozenset(path.between))

    def region_of(self, host: str) -> Region:
        """Return where a host is."""
        return self.place_of(host).region

    def place_of(self, host: str) -> Place:
        """Return a host's place."""
        return self.places[self.hosts[host].place]

    def hosts_in(self, region: Region) -> tuple[str, ...]:
        """Return the names of a region's hosts, in the file's order."""
        return tuple(host for host in self.hosts if self.region_of(host) is region)

    def address_of(self, host: str) -> str:
        """Return a host's IPv4 address: 11.region.place.host, so that regions and places are networks of their own."""
        place = self.hosts[host].place
        neighbours = [name for name, other in self.hosts.items() if other.place == place]
        region_number = 1 + list(Region).index(self.places[place].region)
        return f"11.{region_number}.{1 + list(self.places).index(place)}.{1 + neighbours.index(host)}"

    def round_trip_ms(self, first: str, second: str) -> float:
        """Return the least that a round trip between two hosts takes, without jitter: the truth for a router."""
        here, there = self.hosts[first], self.hosts[second]
        return self._between_places(here.place, there.place) + here.access_rtt_ms + there.access_rtt_ms

    def one_way(self, first: str, second: str) -> OneWay:
        """Return what happens to packets from one host to another."""
        pair = {self.hosts[first].place, self.hosts[second].place}
        special = next((path for path in self.paths if set(path.between) == pair), None)
        jitter_ms = self.jitter_ms if special is None or special.jitter_ms is None else special.jitter_ms
        loss = self.loss if special is None or special.loss is None else special.loss
        return OneWay(self.round_trip_ms(first, second) / 2_000, jitter_ms / 2_000, loss)

    def _between_places(self, first: str, second: str) -> float:
        if first == second:
            return self.local_rtt_ms
        row = self.rtt_ms.get(first, {})
        return row[second] if second in row else self.rtt_ms[second][first]


def find_world(name: str) -> Path:
    """Return the path of a world: of a file, or of a shipped world by its name.

    Raises:
        WorldInvalid: there is none.
    """
    path = Path(name)
    if path.suffix == ".toml":
        return path
    shipped = {found.stem: found for folder in WORLDS_FOLDERS for found in sorted(folder.glob("*.toml"))}
    if name not in shipped:
        raise WorldInvalid(
            f"There is no world {name!r}. Name one of {', '.join(shipped)}, or a file that ends in .toml."
        )
    return shipped[name]


def check_name(name: str) -> None:
    """Refuse what cannot be a world's name, which becomes a folder's.

    Raises:
        WorldInvalid: it cannot.
    """
    if not re.fullmatch(_NAME, name):
        raise WorldInvalid(f"{name!r} cannot name a world. Use small letters, digits and dashes, at most 24.")


def load_world(path: Path) -> World:
    """Read and check a world file; the file's name, without ``.toml``, is the world's.

    Raises:
        WorldInvalid: it cannot be read or is wrong; every mistake is named.
    """
    try:
        check_name(path.stem)
        return World.model_validate(tomllib.loads(path.read_text(encoding="utf-8")))
    except OSError as error:
        raise WorldInvalid(f"{path} cannot be read ({error.strerror}). Check the name.") from error
    except (UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise WorldInvalid(f"{path} is not TOML: {error}.") from error
    except ValidationError as error:
        raise WorldInvalid(f"{path} is not a valid world:\n{_in_words(error)}\nCorrect the file.") from error


def _in_words(error: ValidationError) -> str:
    lines = []
    for mistake in error.errors(include_url=False):
        where = ".".join(str(part) for part in mistake["loc"] if part != "[key]")
        said = mistake["msg"].removeprefix("Value error, ")
        lines += [f"  {where}: {said}" if where else f"  {part}" for part in ([said] if where else said.split("; "))]
    return "\n".join(lines)
