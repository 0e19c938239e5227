"""Price tables in files, as the operator writes them."""

import json
import tomllib
from collections.abc import Mapping
from pathlib import Path

from gpunode_protocol.admin_api import PriceOrder
from gpunode_protocol.prices import Price
from gpunode_protocol.validation import first_problem
from pydantic import ValidationError

from gpunode_tracker.admin_views import unit_price
from gpunode_tracker.errors import InvalidRequest


def read_price_file(path: Path) -> tuple[Mapping[str, Price], Mapping[str, Price]]:
    """Return the prices of tasks and of models in a TOML file, or a JSON file if its name ends so.

    Raises:
        InvalidRequest: the file cannot be read, or is not as it should be; the message names the place.
    """
    try:
        text = path.read_text(encoding="utf-8")
        content = json.loads(text) if path.suffix == ".json" else tomllib.loads(text)
        if not isinstance(content, dict):
            raise InvalidRequest(f"{path} has to hold tables named 'tasks' and 'models'.")
        order = PriceOrder.model_validate({"models": {}, **content, "replaces": 0})
    except OSError as error:
        raise InvalidRequest(f"The file {path} cannot be read: {error.strerror}.") from error
    except ValidationError as error:
        raise InvalidRequest(f"{path}: {first_problem(error)}.") from error
    except (ValueError, RecursionError) as error:  # no JSON, no TOML, no UTF-8
        raise InvalidRequest(f"{path} cannot be read: {error}.") from error
    tasks = {str(task): unit_price(given) for task, given in order.tasks.items()}
    return tasks, {name: unit_price(given) for name, given in order.models.items()}
