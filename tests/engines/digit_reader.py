"""A classifier of handwritten digits, trained here on other data than the image model was.

``data/digits.csv.gz``: 1,797 digits of 8 x 8 pixels with values up to 16, the label last: the test part of the UCI data
set "Optical Recognition of Handwritten Digits" (E. Alpaydin, C. Kaynak, 1998; CC BY 4.0). Its digits fill their
squares; each pixel counts the ink of 4 x 4 points.
"""

import gzip
from collections.abc import Iterable
from pathlib import Path

import numpy
import torch
from torch import nn

_DATA = Path(__file__).with_name("data") / "digits.csv.gz"
_EPOCHS = 12
_BATCH = 64
_INK = 0.2


class DigitReader:
    """Trained at construction, which takes seconds: do it in a thread where an event loop must go on."""

    def __init__(self) -> None:
        torch.set_num_threads(1)  # more would wait for each other beside other programs
        torch.manual_seed(1)
        self._network = nn.Sequential(
            *(nn.Conv2d(1, 32, 3, padding=1), nn.ReLU(), nn.Conv2d(32, 64, 3, padding=1), nn.ReLU()),
            *(nn.MaxPool2d(2), nn.Flatten(), nn.Dropout(0.3), nn.Linear(1024, 64), nn.ReLU(), nn.Dropout(0.3)),
            nn.Linear(64, 10),
        )
        with gzip.open(_DATA) as file:
            table = torch.tensor(numpy.loadtxt(file, delimiter=",", dtype="float32"))
        self._train(table[:, :64].reshape(-1, 1, 8, 8) / 16, table[:, 64].long())

    def _train(self, pictures: torch.Tensor, labels: torch.Tensor) -> None:
        optimizer = torch.optim.Adam(self._network.parameters(), 2e-3)
        for _ in range(_EPOCHS):
            for batch in torch.randperm(len(pictures)).split(_BATCH):
                optimizer.zero_grad()
                guess = self._network(_varied(pictures[batch]))
                nn.functional.cross_entropy(guess, labels[batch]).backward()  # type: ignore[no-untyped-call]  # -- torch's own
                optimizer.step()
        self._network.eval()

    def read(self, pictures: Iterable["numpy.ndarray[tuple[int, int], numpy.dtype[numpy.uint8]]"]) -> list[int]:
        """Return the digits of grey pictures, white on black."""
        with torch.inference_mode():
            inputs = torch.cat([_as_trained(torch.tensor(picture) / 255) for picture in pictures])
            digits: list[int] = self._network(inputs).argmax(1).tolist()
        return digits


def _varied(pictures: torch.Tensor) -> torch.Tensor:
    """Return pictures leaning, shifted, fainter and noisier by chance: other hands, other pens."""
    count = len(pictures)
    shear = torch.eye(2, 3).repeat(count, 1, 1)
    shear[:, :, :2] += 0.15 * torch.randn(count, 2, 2)
    shear[:, :, 2] = 0.1 * torch.randn(count, 2)
    grid = nn.functional.affine_grid(shear, list(pictures.shape), align_corners=False)
    moved = nn.functional.grid_sample(pictures, grid, align_corners=False)
    faded = (moved * (0.6 + 0.8 * torch.rand(count, 1, 1, 1))).clamp(0, 1)
    return faded + 0.05 * torch.randn_like(faded)


def _as_trained(picture: torch.Tensor) -> torch.Tensor:
    """Cut a digit out, fill a square of 32 x 32 points with it, and count the ink in blocks of 4 x 4."""
    inked = picture > _INK
    rows, columns = torch.where(inked.any(1))[0], torch.where(inked.any(0))[0]
    digit = picture[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    height, width = digit.shape
    side = max(height, width)
    square = torch.zeros(side, side)
    top, left = (side - height) // 2, (side - width) // 2
    square[top : top + height, left : left + width] = digit
    points = nn.functional.interpolate(square[None, None], (32, 32), mode="bilinear")
    return nn.functional.avg_pool2d((points > _INK).float(), 4)
