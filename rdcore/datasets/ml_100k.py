"""MovieLens-100K.

What is pinned is u.data itself, by the hash that others publish for GroupLens's file too. The
.inter file in the recbole wheel is u.data, byte for byte, below one header line, so both sources
end in the same file. The archive's published md5 is 0e33842e24a9c977be4e0107933c0723; its sha256
below belongs to the same 4,924,029 bytes according to those who publish both. The archive was not
downloaded for this project, but u.data's own hash decides in any case."""

from pathlib import Path

from rdcore.data import Interactions
from rdcore.datasets.base import DataSet, File, Source
from rdcore.datasets.formats import read_udata
from rdcore.datasets.frames import from_frame


def read(files: list[Path], name: str, **options) -> Interactions:
    """Every rating is an interaction, whatever its value. ``options``: those of `from_frame`."""
    return from_frame(read_udata(files[0]), name=name, **options)


DATASET = DataSet(
    name="ml-100k",
    title="MovieLens-100K: 100,000 ratings with timestamps",
    licence="GroupLens's terms: research use, no redistribution, no commercial use without permission; fetched, never shipped",
    citation="F. M. Harper, J. A. Konstan: The MovieLens Datasets. ACM TiiS 5(4), 2015, doi:10.1145/2827872",
    homepage="https://grouplens.org/datasets/movielens/100k/",
    content="45b3c9be78fefd0fccd4808bbd21ff74cb3ab137209904ed544230961be9ca72",
    files=(
        File(
            "u.data",
            1_979_173,
            "06416e597f82b7342361e41163890c81036900f418ad91315590814211dca490",
            (
                Source(
                    url="https://files.grouplens.org/datasets/movielens/ml-100k.zip",
                    archive="50d2a982c66986937beb9ffb3aa76efe955bf3d5c6b761f4e3a7cd717c6a3229",
                    member="ml-100k/u.data",
                ),
                Source(
                    requirement="recbole==1.2.1",
                    archive="9c9948202011f37eb0a7c6768129313f00d6403ad221ec940d5e2d5d5f33a407",
                    member="recbole/dataset_example/ml-100k/ml-100k.inter",
                    skip_lines=1,
                ),
            ),
        ),
    ),
    read=read,
)
