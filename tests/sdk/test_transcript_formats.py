from pathlib import Path

import pytest
from gpunode.transcript_formats import TranscriptFormat, format_of


@pytest.mark.parametrize(
    ("name", "form"), [("a.srt", "srt"), ("a.VTT", "vtt"), ("a.json", "verbose_json"), ("a.md", "text"), ("a", "text")]
)
def test_the_suffix_tells_the_form(name: str, form: TranscriptFormat) -> None:
    """Whatever is not known is text."""
    assert format_of(Path(name)) == form
